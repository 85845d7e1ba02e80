//! Which constants of a graph are trained, and what each is.

use gaunt_graph::{Binary, Graph, Op, ValueId};

/// A trainable parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Where it is in the graph.
    pub value: ValueId,
    /// Its name there.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// What it does.
    pub role: Role,
}

/// What a trainable parameter does in the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Weight of a convolution or linear layer.
    Weight,
    /// Added to the output of a layer.
    Bias,
    /// Scale of a normalisation, or slope of an activation.
    Scale,
}

impl Role {
    /// Whether weight decay applies: to weights only. Shrinking the others regularises nothing and costs accuracy.
    pub fn decays(self) -> bool {
        self == Role::Weight
    }
}

/// The trainable parameters of a graph, in the order of their ids: those that a convolution, linear layer,
/// normalisation or PReLU uses as weight, scale or bias. Running statistics and other constants are not trained.
pub(crate) fn trainable(graph: &Graph) -> Vec<Parameter> {
    let mut roles: Vec<Option<Role>> = vec![None; graph.values.len()];
    for node in &graph.nodes {
        for (&input, role) in
            node.inputs.iter().zip(roles_of(&node.op)).filter_map(|(input, role)| Some((input, role?)))
        {
            roles[input.index()] = Some(role);
        }
    }
    for statistic in graph.nodes.iter().filter(|node| matches!(node.op, Op::BatchNorm { .. })) {
        statistic.inputs.iter().skip(3).for_each(|&input| roles[input.index()] = None);
    }
    let parameter = |(value, tensor): (ValueId, &gaunt_graph::Tensor)| {
        let role = roles[value.index()]?;
        Some(Parameter { value, name: graph.value(value).name.clone(), shape: tensor.shape().to_vec(), role })
    };
    graph.parameters().filter_map(parameter).collect()
}

/// The role of each input of an operator, if it is a trainable one.
fn roles_of(op: &Op) -> impl Iterator<Item = Option<Role>> {
    let roles: &[Option<Role>] = match op {
        Op::Conv(_) | Op::Linear => &[None, Some(Role::Weight), Some(Role::Bias)],
        Op::BatchNorm { .. } | Op::LayerNorm { .. } => &[None, Some(Role::Scale), Some(Role::Bias)],
        Op::Binary(Binary::PRelu) => &[None, Some(Role::Scale)],
        _ => &[],
    };
    roles.iter().copied()
}

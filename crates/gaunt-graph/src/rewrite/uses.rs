//! Who makes and who reads each value.

use alloc::{vec, vec::Vec};

use crate::{Graph, ValueId};

/// Producers and consumers of all values, by node index.
pub(super) struct Uses {
    producers: Vec<Option<usize>>,
    consumers: Vec<Vec<usize>>,
    outputs: Vec<bool>,
}

impl Uses {
    pub(super) fn of(graph: &Graph) -> Self {
        let count = graph.values.len();
        let mut uses =
            Self { producers: vec![None; count], consumers: vec![Vec::new(); count], outputs: vec![false; count] };
        for (index, node) in graph.nodes.iter().enumerate() {
            node.inputs.iter().for_each(|input| uses.consumers[input.index()].push(index));
            node.outputs.iter().for_each(|output| uses.producers[output.index()] = Some(index));
        }
        graph.outputs.iter().for_each(|output| uses.outputs[output.index()] = true);
        uses
    }

    /// The node that makes a value; none for inputs and parameters.
    pub(super) fn producer(&self, value: ValueId) -> Option<usize> {
        self.producers[value.index()]
    }

    /// The nodes that read a value, one entry for each reading input.
    pub(super) fn consumers(&self, value: ValueId) -> &[usize] {
        &self.consumers[value.index()]
    }

    /// Whether the caller sees the value.
    pub(super) fn is_output(&self, value: ValueId) -> bool {
        self.outputs[value.index()]
    }

    /// Whether a value is read once, and by nobody outside.
    pub(super) fn is_private(&self, value: ValueId) -> bool {
        self.consumers(value).len() == 1 && !self.is_output(value)
    }
}

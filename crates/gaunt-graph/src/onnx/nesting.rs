//! Depth check of a protobuf file, before the parser recurses into it.
//!
//! Only the messages on a cycle of the schema matter: a graph in an attribute of a node of a graph, and types of
//! types. The walk also demands the wire types of the schema in those messages, so that it and the parser agree on
//! where each message begins.

use super::OnnxError;

/// Deepest nesting of messages; plain networks need 6.
pub(super) const MAX_NESTING: usize = 32;

/// Refuses files that nest deeper than [`MAX_NESTING`] or break the wire format on the way.
pub(super) fn check(bytes: &[u8]) -> Result<(), OnnxError> {
    walk(bytes, Message::Model, 1)
}

#[derive(Clone, Copy)]
enum Message {
    Model,
    Training,
    Function,
    Graph,
    Node,
    Attribute,
    ValueInfo,
    Type,
    Sequence,
    Map,
    Optional,
}

const VARINT: u64 = 0;
const LENGTH: u64 = 2;
const FIXED32: u64 = 5;

impl Message {
    /// The message that a field holds, if it lies on a cycle.
    fn child(self, field: u64) -> Option<Message> {
        Some(match (self, field) {
            (Message::Model, 7) | (Message::Training, 1 | 2) | (Message::Attribute, 6 | 11) => Message::Graph,
            (Message::Model, 20) => Message::Training,
            (Message::Model, 25) => Message::Function,
            (Message::Function, 7) | (Message::Graph, 1) => Message::Node,
            (Message::Function, 11) | (Message::Node, 5) => Message::Attribute,
            (Message::Function, 12) | (Message::Graph, 11..=13) => Message::ValueInfo,
            (Message::ValueInfo, 2) | (Message::Attribute, 14 | 15) => Message::Type,
            (Message::Sequence | Message::Optional, 1) | (Message::Map, 2) => Message::Type,
            (Message::Type, 4) => Message::Sequence,
            (Message::Type, 5) => Message::Map,
            (Message::Type, 9) => Message::Optional,
            _ => return None,
        })
    }

    /// Whether the schema lets a field have this wire type.
    fn allows(self, field: u64, wire: u64) -> bool {
        match (self, field) {
            (Message::Model, 1 | 5) | (Message::Map, 1) | (Message::Attribute, 3 | 20) => wire == VARINT,
            (Message::Function, 2 | 3) => wire == VARINT,
            (Message::Attribute, 2) => wire == FIXED32,
            (Message::Attribute, 7) => wire == FIXED32 || wire == LENGTH,
            (Message::Attribute, 8) => wire == VARINT || wire == LENGTH,
            _ => wire == LENGTH,
        }
    }
}

fn walk(mut bytes: &[u8], message: Message, depth: usize) -> Result<(), OnnxError> {
    if depth > MAX_NESTING {
        return Err(OnnxError::Nesting);
    }
    while !bytes.is_empty() {
        let tag = varint(&mut bytes)?;
        // As the parser, which keeps 32 bits of the field number.
        let (field, wire) = (u64::from((tag >> 3) as u32), tag & 7);
        if !message.allows(field, wire) {
            return Err(malformed(format!("field {field} has wire type {wire}")));
        }
        match wire {
            VARINT => drop(varint(&mut bytes)?),
            FIXED32 => drop(take(&mut bytes, 4)?),
            _ => {
                let length = varint(&mut bytes)?;
                let content = take(&mut bytes, length)?;
                if let Some(child) = message.child(field) {
                    walk(content, child, depth + 1)?;
                }
            }
        }
    }
    Ok(())
}

fn varint(bytes: &mut &[u8]) -> Result<u64, OnnxError> {
    let mut value = 0;
    for shift in (0..70).step_by(7) {
        let &byte = take(bytes, 1)?.first().ok_or_else(truncated)?;
        if shift == 63 && byte > 1 {
            break;
        }
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(malformed("a number has more than 64 bits".into()))
}

fn take<'a>(bytes: &mut &'a [u8], count: u64) -> Result<&'a [u8], OnnxError> {
    let count = usize::try_from(count).map_err(|_| truncated())?;
    let (head, tail) = bytes.split_at_checked(count).ok_or_else(truncated)?;
    *bytes = tail;
    Ok(head)
}

fn truncated() -> OnnxError {
    malformed("it ends too early".into())
}

fn malformed(reason: String) -> OnnxError {
    OnnxError::Malformed(reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A field with a length, around a content.
    fn field(number: u8, content: &[u8]) -> Vec<u8> {
        let mut bytes = vec![number << 3 | LENGTH as u8];
        let mut length = content.len();
        while length >= 0x80 {
            bytes.push(length as u8 | 0x80);
            length >>= 7;
        }
        bytes.push(length as u8);
        bytes.extend_from_slice(content);
        bytes
    }

    /// A model whose graph holds a node whose attribute holds a graph, and so on.
    fn nested_graphs(levels: usize) -> Vec<u8> {
        let graph = (0..levels).fold(Vec::new(), |graph, _| field(1, &field(5, &field(6, &graph))));
        field(7, &graph)
    }

    #[test]
    fn nesting_is_refused_beyond_the_limit() {
        check(&nested_graphs(10)).unwrap();
        assert!(matches!(check(&nested_graphs(11)), Err(OnnxError::Nesting)));
        assert!(matches!(check(&nested_graphs(3000)), Err(OnnxError::Nesting)));
    }

    #[test]
    fn nested_types_are_counted_too() {
        let mut kind = Vec::new();
        for _ in 0..3000 {
            kind = field(4, &field(1, &kind));
        }
        let model = field(7, &field(11, &field(2, &kind)));
        assert!(matches!(check(&model), Err(OnnxError::Nesting)));
    }

    #[test]
    fn wire_types_off_the_schema_are_refused() {
        let model = [7 << 3 | FIXED32 as u8, 0, 0, 0, 0];
        assert!(matches!(check(&model), Err(OnnxError::Malformed(_))));
    }
}

//! The file: magic and version, lengths, checksum, description, metadata, tensors.

use alloc::{format, vec::Vec};

use crc::{CRC_32_ISO_HDLC, Crc, Table};
use gaunt_graph::{Graph, ValueId};

use crate::{
    FormatError, Metadata, description,
    limits::{self, Limits, check},
    side_by_side, tensor, text,
    wire::{Reader, Writer},
};

const MAGIC: &[u8; 5] = b"GAUNT";
/// The version that this crate writes and reads.
pub const VERSION: u8 = 3;

static CRC: Crc<u32, Table<1>> = Crc::<u32, Table<1>>::new(&CRC_32_ISO_HDLC);
/// Bytes of a checksum.
const CHECKSUM: usize = 4;

/// What a file holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Model {
    /// The network, its parameters as floats or codes.
    pub graph: Graph,
    /// Everything else.
    pub metadata: Metadata,
}

/// Where the bytes of a file are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// All bytes.
    pub file: usize,
    /// Magic, version, lengths and checksums.
    pub header: usize,
    /// The graph without its parameters' data, compressed.
    pub description: usize,
    /// The metadata, compressed.
    pub metadata: usize,
    /// Data of each parameter, by its value in the graph.
    pub tensors: Vec<(ValueId, usize)>,
}

impl Model {
    /// The bytes of a file.
    ///
    /// # Errors
    /// If the graph is not valid, or has so many zeros that a reader would refuse the file: more than 1024 elements for a
    /// byte, beyond the first 524,288.
    pub fn to_bytes(&self) -> Result<Vec<u8>, FormatError> {
        let bytes = self.assemble()?;
        let shapes = self.graph.parameters().map(|(_, tensor)| tensor.shape());
        let numbers = shapes.map(limits::numbers).sum::<Result<usize, FormatError>>()?;
        check("elements", numbers, limits::elements_of(bytes.len()))?;
        Ok(bytes)
    }

    /// How many bytes a file would have, even one of so many zeros that [`Model::to_bytes`] refuses it: who estimates sizes
    /// asks for emptier networks than anybody keeps.
    ///
    /// # Errors
    /// If the graph is not valid.
    pub fn file_size(&self) -> Result<usize, FormatError> {
        self.assemble().map(|bytes| bytes.len())
    }

    fn assemble(&self) -> Result<Vec<u8>, FormatError> {
        let (graph, parameters) = description::write(&self.graph)?;
        let tensors = parameters.iter().filter_map(|id| self.graph.value(*id).tensor.as_ref()).collect();
        let tensors = side_by_side::each(tensors, |tensor| tensor.shape().iter().product(), tensor::write);
        if tensors.len() != parameters.len() {
            return Err(FormatError::invalid("the graph", "a value is read that nobody makes"));
        }
        let metadata = self.metadata.write();
        let mut head = Writer::default();
        let (graph_text, metadata_text) = (text::compress(&graph), text::compress(&metadata));
        for (plain, packed) in [(&graph, &graph_text), (&metadata, &metadata_text)] {
            check("bytes of text", plain.len(), limits::text_of(packed.len()))?;
            head.size(plain.len());
            head.size(packed.len());
        }
        tensors.iter().for_each(|tensor| head.size(tensor.len()));
        let head = text::compress_sized(&head.0);

        let mut out = Writer::default();
        out.0.extend(MAGIC);
        out.0.push(VERSION);
        out.size(tensors.len());
        out.bytes(&head);
        out.0.extend(graph_text);
        out.0.extend(metadata_text);
        seal(&mut out.0, 0);
        let start = out.0.len();
        tensors.iter().for_each(|tensor| out.0.extend(tensor));
        seal(&mut out.0, start);
        Ok(out.0)
    }

    /// Reads a file with the default [`Limits`].
    ///
    /// # Errors
    /// If the bytes are not a valid file, or exceed the limits.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, FormatError> {
        Self::from_bytes_with(bytes, &Limits::default())
    }

    /// Reads a file.
    ///
    /// # Errors
    /// If the bytes are not a valid file, or exceed the limits.
    pub fn from_bytes_with(bytes: &[u8], limits: &Limits) -> Result<Self, FormatError> {
        let file = File::open(bytes, limits)?;
        let mut graph = file.graph;
        let (mut elements, most) = (0usize, limits.elements.min(limits::elements_of(bytes.len())));
        let mut tensors = Vec::new();
        for (&id, &data) in file.parameters.iter().zip(&file.tensors) {
            let shape: Vec<usize> = graph.value(id).shape.iter().map(|dim| dim.at(1)).collect();
            elements = elements.saturating_add(limits::numbers(&shape)?);
            check("elements", elements, most)?;
            tensors.push((data, shape));
        }
        let tensors = side_by_side::each(tensors, |(data, _)| data.len(), |(data, shape)| tensor::read(data, shape));
        for (&id, tensor) in file.parameters.iter().zip(tensors) {
            graph.values[id.index()].tensor = Some(tensor?);
        }
        graph.validate()?;
        Ok(Self { graph, metadata: file.metadata })
    }

    /// Where the bytes of a file are; tensors are not decoded.
    ///
    /// # Errors
    /// If the bytes are not a valid file.
    pub fn layout(bytes: &[u8]) -> Result<Layout, FormatError> {
        let file = File::open(bytes, &Limits::default())?;
        let tensors: Vec<(ValueId, usize)> =
            file.parameters.iter().zip(&file.tensors).map(|(&id, data)| (id, data.len())).collect();
        let data: usize = tensors.iter().map(|(_, length)| length).sum();
        let header = bytes.len() - data - file.description_bytes - file.metadata_bytes;
        Ok(Layout {
            file: bytes.len(),
            header,
            description: file.description_bytes,
            metadata: file.metadata_bytes,
            tensors,
        })
    }
}

/// A file whose sections are told apart and whose checksums hold.
struct File<'a> {
    graph: Graph,
    parameters: Vec<ValueId>,
    tensors: Vec<&'a [u8]>,
    metadata: Metadata,
    description_bytes: usize,
    metadata_bytes: usize,
}

const HEADER: &str = "the header";

impl<'a> File<'a> {
    fn open(bytes: &'a [u8], limits: &Limits) -> Result<Self, FormatError> {
        check("bytes", bytes.len(), limits.bytes)?;
        let mut input = Reader::new(bytes, HEADER);
        if input.take(MAGIC.len()).ok() != Some(MAGIC) {
            return Err(FormatError::Magic);
        }
        let version = input.byte()?;
        if version != VERSION {
            return Err(FormatError::Version { found: version, known: VERSION });
        }
        let count = input.size()?;
        check("tensors", count, limits.tensors)?;
        let head = input.bytes()?;
        let text_of = |packed| limits.description.min(limits::text_of(packed));
        let head = text::expand_sized(head, text_of(head.len())).ok_or(FormatError::Truncated { place: HEADER })?;
        let mut head = Reader::new(&head, HEADER);
        let [graph_plain, graph_packed, metadata_plain, metadata_packed] =
            [head.size()?, head.size()?, head.size()?, head.size()?];
        check("bytes of description", graph_plain, text_of(graph_packed))?;
        check("bytes of metadata", metadata_plain, text_of(metadata_packed))?;
        let lengths = (0..count).map(|_| head.size()).collect::<Result<Vec<usize>, FormatError>>()?;
        head.end()?;
        let (graph, metadata) = (input.take(graph_packed)?, input.take(metadata_packed)?);
        verify(bytes, 0, &mut input, "the description")?;

        let start = bytes.len() - input.left();
        let tensors = lengths.iter().map(|&length| input.take(length)).collect::<Result<Vec<&[u8]>, FormatError>>()?;
        verify(bytes, start, &mut input, "the data")?;
        if input.left() > 0 {
            return Err(FormatError::Trailing { count: input.left() });
        }
        let graph = text::expand(graph, graph_plain).ok_or(FormatError::Truncated { place: "the graph" })?;
        let metadata =
            text::expand(metadata, metadata_plain).ok_or(FormatError::Truncated { place: "the metadata" })?;
        let (graph, parameters) = description::read(&graph, limits)?;
        if parameters.len() != count {
            let reason = format!("the graph has {} parameters, but there are {count} tensors", parameters.len());
            return Err(FormatError::invalid(HEADER, reason));
        }
        let metadata = Metadata::read(&metadata)?;
        Ok(Self {
            graph,
            parameters,
            tensors,
            metadata,
            description_bytes: graph_packed,
            metadata_bytes: metadata_packed,
        })
    }
}

/// Appends the checksum of what was written from `start` on.
fn seal(bytes: &mut Vec<u8>, start: usize) {
    let checksum = CRC.checksum(&bytes[start..]);
    bytes.extend(checksum.to_le_bytes());
}

/// Reads a checksum and compares it with that of the bytes from `start` to where the reader is.
fn verify(bytes: &[u8], start: usize, input: &mut Reader, place: &'static str) -> Result<(), FormatError> {
    let found = CRC.checksum(&bytes[start..bytes.len() - input.left()]);
    if input.left() < CHECKSUM {
        return Err(FormatError::Truncated { place });
    }
    let expected = input.u32()?;
    if found != expected {
        return Err(FormatError::Checksum { place, found, expected });
    }
    Ok(())
}

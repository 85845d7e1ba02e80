//! The file: magic and version, lengths, checksum, description, metadata, tensors.

use alloc::{format, vec::Vec};

use crc::{CRC_32_ISO_HDLC, Crc, Table};
use gaunt_graph::{Graph, Tensor, ValueId};

use crate::{
    FormatError, Metadata, description,
    limits::{self, Limits, check},
    side_by_side,
    tensor::{self, Rows},
    text,
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
        let read = |(data, shape): (&[u8], Vec<usize>)| tensor::read(data, shape);
        let tensors = (0..file.parameters.len()).map(|place| (file.tensors[place], file.shape(place))).collect();
        let tensors = side_by_side::each(tensors, |(data, _)| data.len(), read);
        let mut graph = file.graph;
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

/// A file whose sections are told apart and whose checksums hold, and whose tensors are read one by one, in any order: for who has no room
/// for all of them, or needs only some.
///
/// ```
/// # use gaunt_format::{File, FormatError, Limits, Row};
/// # fn sum(bytes: &[u8]) -> Result<f32, FormatError> {
/// let file = File::open(bytes, &Limits::default())?;
/// let mut sum = 0.0;
/// for &id in file.parameters() {
///     let mut rows = file.rows(id)?;
///     while let Some(row) = rows.next_row()? {
///         match row {
///             Row::Floats(floats) => sum += floats.iter().sum::<f32>(),
///             Row::Codes { codes, scales: [scale] } => sum += scale * codes.iter().sum::<i32>() as f32,
///             Row::Codes { codes, scales } => sum += codes.iter().zip(scales).map(|(&code, scale)| code as f32 * scale).sum::<f32>(),
///         }
///     }
/// }
/// # Ok(sum)
/// # }
/// ```
pub struct File<'a> {
    graph: Graph,
    parameters: Vec<ValueId>,
    tensors: Vec<&'a [u8]>,
    metadata: Metadata,
    description_bytes: usize,
    metadata_bytes: usize,
}

const HEADER: &str = "the header";

impl<'a> File<'a> {
    /// Reads all but the tensors.
    ///
    /// # Errors
    /// If the bytes are not a valid file as far as this is read, or exceed the limits.
    pub fn open(bytes: &'a [u8], limits: &Limits) -> Result<Self, FormatError> {
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
        let file = Self {
            graph,
            parameters,
            tensors,
            metadata: Metadata::read(&metadata)?,
            description_bytes: graph_packed,
            metadata_bytes: metadata_packed,
        };
        let mut numbers = (0..count).map(|place| limits::numbers(&file.shape(place)));
        let numbers = numbers.try_fold(0usize, |sum, numbers| Ok::<_, FormatError>(sum.saturating_add(numbers?)))?;
        check("elements", numbers, limits.elements.min(limits::elements_of(bytes.len())))?;
        Ok(file)
    }

    /// The network. Its parameters have shapes, and no data.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Everything else.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The values of the graph that have a tensor, in the order of the file, which is theirs.
    pub fn parameters(&self) -> &[ValueId] {
        &self.parameters
    }

    /// Reads the tensor of a parameter.
    ///
    /// # Errors
    /// If its bytes are not valid, or the value is no parameter.
    pub fn tensor(&self, id: ValueId) -> Result<Tensor, FormatError> {
        let place = self.place(id)?;
        tensor::read(self.tensors[place], self.shape(place))
    }

    /// The tensor of a parameter, to be read row by row.
    ///
    /// # Errors
    /// If its first bytes are not valid, or the value is no parameter.
    pub fn rows(&self, id: ValueId) -> Result<Rows<'a>, FormatError> {
        let place = self.place(id)?;
        Rows::open(self.tensors[place], &self.shape(place))
    }

    fn place(&self, id: ValueId) -> Result<usize, FormatError> {
        // Values are numbered as they appear in the file, and so are their tensors.
        let place = self.parameters.binary_search(&id).ok();
        place.ok_or_else(|| FormatError::invalid("the graph", "a value without a tensor is asked for one"))
    }

    fn shape(&self, place: usize) -> Vec<usize> {
        self.graph.value(self.parameters[place]).shape.iter().map(|dim| dim.at(1)).collect()
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

//! The integer codes of a file as NumPy arrays, for other coders to try themselves on.
//!
//! `codes dump FILE.gaunt DIR` writes one `.npy` per coded tensor; `codes bench DIR` says what this crate makes of those in `DIR`;
//! with `VERBOSE` in the environment, of each, bytes and microseconds to decode. The last rate is that of all tensors decoded side by side.

use std::{error::Error, fs, path::Path, time::Instant};

use gaunt_format::{Model, decode_all_codes, decode_codes, encode_codes};
use gaunt_graph::Data;

/// Times that each tensor is coded.
const RUNS: usize = 5;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["dump", file, folder] => dump(file.as_ref(), folder.as_ref()),
        ["bench", folder] => bench(folder.as_ref()),
        _ => Err("usage: codes dump FILE.gaunt DIR | codes bench DIR".into()),
    }
}

fn dump(file: &Path, folder: &Path) -> Result<()> {
    let model = Model::from_bytes(&fs::read(file)?)?;
    fs::create_dir_all(folder)?;
    for (place, (id, tensor)) in model.graph.parameters().enumerate() {
        let Data::Codes { codes, .. } = tensor.data() else { continue };
        let name = format!("{place:03}.{}.npy", model.graph.value(id).name.replace('/', "_"));
        fs::write(folder.join(name), npy(codes, tensor.shape()))?;
    }
    Ok(())
}

fn bench(folder: &Path) -> Result<()> {
    let mut files: Vec<_> = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    files.retain(|path| path.extension().is_some_and(|end| end == "npy"));
    files.sort();
    let (mut weights, mut bytes, mut seconds, mut all) = (0, 0, [0.0; 3], Vec::new());
    for path in &files {
        let (codes, shape) = parse_npy(&fs::read(path)?).ok_or("not an array of int32 in C order")?;
        let (coded, encoding) = fastest(|| encode_codes(&codes, &shape));
        let (decoded, decoding) = fastest(|| decode_codes(&coded, &shape));
        seconds[0] += encoding;
        seconds[1] += decoding;
        if decoded.as_ref() != Ok(&codes) {
            return Err(format!("{} does not come back", path.display()).into());
        }
        weights += codes.len();
        bytes += coded.len();
        all.push((coded, shape.clone()));
        if std::env::var_os("VERBOSE").is_some() {
            println!(
                "{:40} {:20} {:8} {:9.1}",
                path.file_name().unwrap_or_default().to_string_lossy(),
                format!("{shape:?}"),
                all.last().map_or(0, |(coded, _)| coded.len()),
                1e6 * decoding
            );
        }
    }
    seconds[2] = fastest(|| decode_all_codes(all.iter().map(|(coded, shape)| (&coded[..], &shape[..])).collect())).1;
    let rate = seconds.map(|seconds| weights as f64 / seconds / 1e6);
    println!(
        "{weights} weights, {bytes} bytes, encoded at {:.2}, decoded at {:.2}, by {} threads at {:.2} million a second",
        rate[0],
        rate[1],
        std::thread::available_parallelism()?,
        rate[2]
    );
    Ok(())
}

/// What `run` returns, and the seconds that the fastest of its runs takes.
fn fastest<T>(run: impl Fn() -> T) -> (T, f64) {
    let timed = || {
        let start = Instant::now();
        (run(), start.elapsed().as_secs_f64())
    };
    (1..RUNS).fold(timed(), |best, _| {
        let next = timed();
        if next.1 < best.1 { next } else { best }
    })
}

/// NumPy's format 1.0: magic, version, length of a header that is a Python literal, data.
fn npy(codes: &[i32], shape: &[usize]) -> Vec<u8> {
    let sizes: String = shape.iter().map(|size| format!("{size},")).collect();
    let header = format!("{{'descr': '<i4', 'fortran_order': False, 'shape': ({sizes}), }}");
    let header = format!("{header:117}\n");
    let mut out = b"\x93NUMPY\x01\x00".to_vec();
    out.extend((header.len() as u16).to_le_bytes());
    out.extend(header.as_bytes());
    codes.iter().for_each(|code| out.extend(code.to_le_bytes()));
    out
}

fn parse_npy(bytes: &[u8]) -> Option<(Vec<i32>, Vec<usize>)> {
    let length = usize::from(u16::from_le_bytes(bytes.get(8..10)?.try_into().ok()?));
    let (header, data) = bytes.get(10..)?.split_at_checked(length)?;
    let header = std::str::from_utf8(header).ok()?;
    let shape = header.split_once("'shape': (")?.1.split_once(')')?.0;
    let shape = shape.split(',').map(str::trim).filter(|size| !size.is_empty()).map(|size| size.parse().ok());
    let shape: Vec<usize> = shape.collect::<Option<_>>()?;
    let plain = header.contains("'<i4'") && header.contains("'fortran_order': False");
    let codes: Vec<i32> =
        data.chunks_exact(4).map(|code| i32::from_le_bytes([code[0], code[1], code[2], code[3]])).collect();
    (plain && codes.len() == shape.iter().product::<usize>()).then_some((codes, shape))
}

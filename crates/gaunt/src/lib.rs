//! Gaunt makes trained neural networks thin: one small file that runs.
//!
//! This crate is the command ([`cli`]) and the one that programs import: everything of the layers below under one
//! roof. To run a `.gaunt` file in a program, [`runtime`] alone is enough and needs no `std`:
//!
//! ```no_run
//! use gaunt::runtime::Session;
//!
//! let file = std::fs::read("model.gaunt")?;
//! let mut session = Session::from_bytes(&file)?;
//! let image = vec![0.0; 3 * 32 * 32];
//! let inputs = [image.as_slice()];
//! let outputs = session.run(&inputs, 1)?;
//! for logits in outputs.iter() {
//!     println!("{:?}", logits.data);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod cli;

pub use gaunt_compress as compress;
pub use gaunt_data as data;
pub use gaunt_format as format;
pub use gaunt_graph as graph;
pub use gaunt_runtime as runtime;
pub use gaunt_train as train;

//! Proof that `gaunt-format` and `gaunt-runtime` need nothing but a processor: a program without the standard library that embeds a
//! `.gaunt` file, runs it, and ends with status 0 if the numbers are right to the last bit.
//!
//! ```sh
//! cargo run --release                                           # here
//! cargo build --release --target thumbv7em-none-eabihf          # for a Cortex-M4 or M7 without operating system
//! qemu-system-arm -machine mps2-an386 -nographic -semihosting -kernel target/thumbv7em-none-eabihf/release/gaunt-embedded
//! ```
#![no_std]
#![no_main]

mod heap;
mod network;
#[cfg_attr(target_os = "none", path = "start_bare.rs")]
#[cfg_attr(not(target_os = "none"), path = "start_hosted.rs")]
mod start;

use heap::Heap;

/// All the memory that reading and running the network may take, beside the stack.
#[global_allocator]
static HEAP: Heap = Heap::new();

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    start::exit(false)
}

//! Measures what the kernels are bounded by here: products in registers, and bytes from caches and memory.
//!
//! ```text
//! cargo run --release -p gaunt-kernels --example peak
//! ```
//!
//! Each figure is the best of a few rounds, on one thread and on two at once.

use std::{hint::black_box, sync::Mutex, thread, time::Instant};

use gaunt_kernels::Isa;

const ROUNDS: usize = 5;
/// Rounds of fourteen independent instructions.
const LOOPS: u64 = 5_000_000;

/// The best rate of `work`, which does so many `units` on the thread whose number it is given; of all threads together, in giga a
/// second.
fn rate(threads: usize, units: f64, work: impl Fn(usize) + Sync) -> f64 {
    let round = || {
        let start = Instant::now();
        thread::scope(|scope| {
            let work = &work;
            (0..threads).for_each(|thread| drop(scope.spawn(move || work(thread))));
        });
        threads as f64 * units / start.elapsed().as_secs_f64() / 1e9
    };
    (0..ROUNDS).map(|_| round()).fold(0.0, f64::max)
}

fn print(what: &str, unit: &str, units: f64, work: impl Fn(usize) + Sync) {
    println!("{what:<38} {:8.1} {unit}, {:8.1} on two threads", rate(1, units, &work), rate(2, units, &work));
}

#[cfg(target_arch = "x86_64")]
mod products {
    use std::arch::asm;

    /// A loop over one instruction with fourteen independent sums; its operands are whatever the registers hold.
    macro_rules! products {
        ($($name:ident = $instruction:literal;)*) => {
            $(
                /// # Safety
                /// The processor has the instruction.
                pub unsafe fn $name(loops: u64) {
                    // SAFETY: only registers that are given up are written.
                    unsafe {
                        asm!(
                            "2:",
                            ".irp r,0,1,2,3,4,5,6,7,8,9,10,11,12,13",
                            $instruction,
                            ".endr",
                            "dec {loops}",
                            "jnz 2b",
                            loops = inout(reg) loops => _,
                            out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _, out("xmm4") _, out("xmm5") _,
                            out("xmm6") _, out("xmm7") _, out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _,
                            out("xmm12") _, out("xmm13") _, out("xmm14") _, out("xmm15") _,
                            options(nostack, nomem),
                        );
                    }
                }
            )*
        };
    }

    /// Instructions of a loop.
    pub const INSTRUCTIONS: u64 = 14;

    products! {
        avx2 = "vfmadd231ps ymm\\r, ymm14, ymm15";
        avx512 = "vfmadd231ps zmm\\r, zmm14, zmm15";
        pairs = "vdpbf16ps zmm\\r, zmm14, zmm15";
    }
}

#[cfg(target_arch = "x86_64")]
fn print_products() {
    use products::INSTRUCTIONS;
    let flops = |each: u64| (LOOPS * INSTRUCTIONS * each) as f64;
    let available = Isa::available();
    if available.contains(&Isa::Avx2) {
        // SAFETY: the processor was asked.
        print("products, AVX2", "GFLOP/s", flops(16), |_| unsafe { products::avx2(LOOPS) });
    }
    if available.contains(&Isa::Avx512) {
        // SAFETY: the processor was asked.
        print("products, AVX-512", "GFLOP/s", flops(32), |_| unsafe { products::avx512(LOOPS) });
    }
    if available.contains(&Isa::Avx512Bf16) {
        // SAFETY: the processor was asked.
        print("products of bfloat16 pairs, AVX-512", "GFLOP/s", flops(64), |_| unsafe { products::pairs(LOOPS) });
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn print_products() {}

/// Reads buffers of some sizes again and again, each thread its own, and copies large ones.
fn print_bytes() {
    const TOTAL: usize = 2 << 30;
    for (what, bytes) in [("16 KiB", 16 << 10), ("256 KiB", 256 << 10), ("4 MiB", 4 << 20), ("256 MiB", 256 << 20)] {
        let buffers = [0, 1].map(|_| vec![1u64; bytes / 8]);
        print(&format!("reading {what}"), "GB/s", TOTAL as f64, |thread| {
            for _ in 0..TOTAL / bytes {
                black_box(black_box(&buffers[thread]).iter().fold(0, |sum: u64, &x| sum.wrapping_add(x)));
            }
        });
    }
    const LARGE: usize = 256 << 20;
    let buffers = [0, 1].map(|_| Mutex::new([vec![1u8; LARGE], vec![1u8; LARGE]]));
    print("copying 256 MiB, read and written", "GB/s", 8.0 * LARGE as f64, |thread| {
        let mut buffers = buffers[thread].lock().expect("no thread panics");
        let [from, to] = &mut *buffers;
        (0..4).for_each(|_| black_box(&mut *to).copy_from_slice(black_box(&*from)));
    });
}

fn main() {
    println!("kernels use {}", Isa::detect());
    print_products();
    print_bytes();
}

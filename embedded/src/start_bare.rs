//! Start and end on a Cortex-M without operating system. A debugger or QEMU takes the status ("semihosting").

use core::{arch::asm, ptr};

use crate::network;

/// Coprocessor access control; the floating-point unit is off until this grants access to it.
const ACCESS: *mut u32 = 0xE000_ED88 as *mut u32;
const FLOATING_POINT: u32 = 0xF << 20;

/// The address that the processor starts at, behind its stack pointer in the table of vectors. Interrupts and faults stay off the
/// table: the program enables none, and a fault without a vector stops the processor.
#[used]
#[unsafe(link_section = ".vectors")]
static START: unsafe extern "C" fn() -> ! = reset;

unsafe extern "C" {
    /// First word of what starts as zeros, and the one behind its last.
    static mut zeros_start: u32;
    static mut zeros_end: u32;
}

/// # Safety
/// Only the processor may call this.
#[unsafe(no_mangle)]
unsafe extern "C" fn reset() -> ! {
    let (start, end) = (&raw mut zeros_start, &raw mut zeros_end);
    // SAFETY: nothing has used the memory yet; the register exists on every Cortex-M with a floating-point unit.
    unsafe {
        start.write_bytes(0, (end.addr() - start.addr()) / size_of::<u32>());
        ptr::write_volatile(ACCESS, ptr::read_volatile(ACCESS) | FLOATING_POINT);
        asm!("dsb", "isb");
    }
    run()
}

/// Apart from [`reset`], so that no floating-point register is touched before the unit is on.
#[inline(never)]
fn run() -> ! {
    exit(network::is_right() == Ok(true))
}

/// Ends the program.
pub fn exit(success: bool) -> ! {
    const EXIT_EXTENDED: u32 = 0x20;
    const APPLICATION_EXIT: u32 = 0x2_0026;
    let reason = [APPLICATION_EXIT, u32::from(!success)];
    // SAFETY: a request to whoever debugs; without anybody the processor stops here.
    unsafe {
        asm!("bkpt 0xab", in("r0") EXIT_EXTENDED, in("r1") reason.as_ptr());
    }
    loop {
        core::hint::spin_loop();
    }
}

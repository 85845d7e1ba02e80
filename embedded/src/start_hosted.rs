//! Start and end under an operating system, by its C library alone.

use core::ffi::c_int;

use crate::network;

#[link(name = "c")]
unsafe extern "C" {
    #[link_name = "_exit"]
    safe fn leave(status: c_int) -> !;
}

/// What the C library calls.
#[unsafe(no_mangle)]
extern "C" fn main() -> c_int {
    exit(network::is_right() == Ok(true))
}

/// Ends the program.
pub fn exit(success: bool) -> ! {
    leave(c_int::from(!success))
}

/// The precompiled `alloc` names these two for unwinding. Panics abort here, so nobody calls them.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

#[unsafe(no_mangle)]
extern "C" fn _Unwind_Resume() -> ! {
    exit(false)
}

//! Ctrl-C: the first asks the run to save and stop, the second leaves at once.

use std::sync::{
    Once,
    atomic::{AtomicBool, Ordering},
};

static ASKED: AtomicBool = AtomicBool::new(false);
static INSTALL: Once = Once::new();

/// Status of a process ended by Ctrl-C.
const STATUS: i32 = 130;

/// Starts to listen. Without a handler Ctrl-C ends the process as usual, and the last checkpoint counts.
pub fn listen() {
    INSTALL.call_once(|| {
        let installed = ctrlc::set_handler(|| {
            if ASKED.swap(true, Ordering::SeqCst) {
                std::process::exit(STATUS);
            }
        });
        if let Err(error) = installed {
            log::warn!("Ctrl-C cannot be caught ({error}); after one, --resume goes on from the last checkpoint");
        }
    });
}

/// Whether Ctrl-C was pressed.
pub fn asked() -> bool {
    ASKED.load(Ordering::SeqCst)
}

//! Threads and devices.

use anyhow::{Context, Result};
use gaunt_train::Device;

use super::args::{DeviceName, Machine};

/// Sets up the thread pool and names the device. Call it once, before anything is computed.
pub fn set_up(machine: &Machine) -> Result<Device> {
    if let Some(threads) = machine.threads {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(usize::from(threads));
        pool.build_global().context("the threads cannot be started")?;
    }
    Ok(match machine.device {
        DeviceName::Cpu => Device::flex(),
        #[cfg(feature = "wgpu")]
        DeviceName::Wgpu => Device::wgpu(Default::default()),
    })
}

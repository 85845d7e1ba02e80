//! Work on the tensors of a file, which do not depend on one another.

use alloc::vec::Vec;

/// What becomes of each of the tensors. The heaviest are begun first, so that all threads end at about the same time; the calling thread
/// is one of them and need not wait until others wake up.
#[cfg(feature = "parallel")]
pub(crate) fn each<T: Send, R: Send>(
    tensors: Vec<T>,
    weight: impl Fn(&T) -> usize,
    code: impl Fn(T) -> R + Sync,
) -> Vec<R> {
    use core::cmp::Reverse;
    use std::sync::{Mutex, PoisonError};

    let threads = rayon::current_num_threads().min(tensors.len());
    let mut tensors: Vec<(usize, T)> = tensors.into_iter().enumerate().collect();
    tensors.sort_by_key(|(_, tensor)| Reverse(weight(tensor)));
    let results = Mutex::new(Vec::with_capacity(tensors.len()));
    let queue = Mutex::new(tensors.into_iter());
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
    let work = || {
        while let Some((place, tensor)) = next() {
            let result = code(tensor);
            results.lock().unwrap_or_else(PoisonError::into_inner).push((place, result));
        }
    };
    rayon::in_place_scope(|scope| {
        (1..threads).for_each(|_| scope.spawn(|_| work()));
        work();
    });
    let mut results: Vec<(usize, R)> = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|&(place, _)| place);
    results.into_iter().map(|(_, result)| result).collect()
}

/// What becomes of each of the tensors.
#[cfg(not(feature = "parallel"))]
pub(crate) fn each<T, R>(tensors: Vec<T>, _: impl Fn(&T) -> usize, code: impl Fn(T) -> R) -> Vec<R> {
    tensors.into_iter().map(code).collect()
}

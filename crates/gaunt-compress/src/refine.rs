//! The last choice of codes: rate-distortion optimised, with the file's own adaptive coder as the judge.

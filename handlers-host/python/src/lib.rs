//! The extension module that runs inside the Python worker: `docs/worker-protocol.md` spoken by an interpreter.
//!
//! `bootstrap.py` loads it and calls `main`. Rust has the hot path: reading, decoding, entering, driving, encoding, writing. `worker.py`
//! has what happens once: making the loop, importing and looking at handlers, describing errors.

mod call;
mod connection;
mod context;
mod coroutine;
mod decode;
mod environment;
mod flusher;
mod frame;
mod ids;
mod input;
mod instance;
mod mappings;
mod message;
mod output;
mod plan;
mod pool;
mod project;
mod raw;
mod reply;
mod rfc3339;
mod slots;
mod socket;
mod start;
mod thread;
mod time;
mod watchdog;
mod worker;

/// The worker's extension module.
#[pyo3::pymodule]
mod rohas_python {
    #[pymodule_export]
    use crate::start::main;
}

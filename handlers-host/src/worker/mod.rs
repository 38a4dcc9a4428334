//! How are worker processes kept? A pool starts them, gives them calls, notices when one hangs or dies, and replaces it.

mod call;
mod calls;
mod deadlines;
mod maintenance;
mod member;
mod pool;
mod process;
mod slots;
mod state;

pub use pool::{Options, Pool, StartError};
pub use process::Program;

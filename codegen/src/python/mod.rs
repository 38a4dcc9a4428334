//! Which Python files follow from a schema?
//!
//! `names` decides what things are called, `layout` in which module each declaration lives, `scope` what a module imports; `records`, `endpoints` and
//! `stubs` make the files. The package needs pydantic 2 and nothing else, and passes `mypy --strict`. What the worker expects of it is written
//! in `templates/runtime.py`.

mod endpoints;
mod fields;
mod layout;
mod literal;
mod names;
mod records;
mod render;
mod scope;
mod stubs;

use rohas_config::schema::Schema;

pub use names::{ClassPath, connection_class, event_class, message_class, request_class, response_class};

use crate::file::{File, Project};
use layout::Layout;

/// All files of a Python project, sorted by path.
#[must_use]
pub fn generate(schema: &Schema, project: &Project) -> Vec<File> {
    let layout = Layout::new(schema);
    let mut files = records::files(schema, &layout);
    files.extend(endpoints::files(schema, &layout));
    files.extend(render::fixed_files());
    files.extend(stubs::files(schema));
    files.extend(stubs::project_files(project));
    files.sort_by(|one, other| one.path.cmp(&other.path));
    files
}

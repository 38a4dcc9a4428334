//! Where do the tests take their schemas from?

use rohas_codegen::{File, Project, python};
use rohas_config::schema::{Context, Sources, check};

/// What is generated for a schema.
pub(crate) fn files(text: &str) -> Vec<File> {
    files_of(&Sources::from_texts([("shop.ro", text)]))
}

/// What is generated for the schema in some files.
pub(crate) fn files_of(sources: &Sources) -> Vec<File> {
    let checked = check(sources, &Context::default());
    let faults: Vec<&str> = checked.diagnostics.iter().map(|diagnostic| diagnostic.message.as_str()).collect();
    assert!(checked.schema.is_some(), "the schema is wrong:\n{}", faults.join("\n"));
    python::generate(&checked.schema.unwrap_or_default(), &Project { name: "shop".to_owned() })
}

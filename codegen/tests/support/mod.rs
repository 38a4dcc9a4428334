//! Where do the tests take their schemas from?

use rohas_codegen::{File, Project, python};
use rohas_config::schema::{Context, Schema, Sources, check};

/// The schema that a text declares.
fn schema(text: &str) -> Schema {
    let checked = check(&Sources::from_texts([("shop.ro", text)]), &Context::default());
    let faults: Vec<&str> = checked.diagnostics.iter().map(|diagnostic| diagnostic.message.as_str()).collect();
    assert!(checked.schema.is_some(), "the schema is wrong:\n{}", faults.join("\n"));
    checked.schema.unwrap_or_default()
}

/// What is generated for a schema.
pub(crate) fn files(text: &str) -> Vec<File> {
    python::generate(&schema(text), &Project { name: "shop".to_owned() })
}

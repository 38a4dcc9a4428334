//! What can be set? The JSON Schema of the file and the reference page, both made from the structs.

use schemars::schema_for;
use serde_json::{Map, Value as Json, json};

use super::Settings;

const INTRODUCTION: &str = "\
# Settings

A project's settings are in `config/rohas.toml`. Every key may be left out. What is not listed here is refused.

Four layers make up the settings; a later one replaces what an earlier one says:

1. the defaults below,
2. `config/rohas.toml`,
3. environment variables: `ROHAS_SECTION__KEY`, for example `ROHAS_SERVER__PORT=8080`. Items of a list are separated by
   commas,
4. flags of the command line.

`rohas config show` prints the settings that hold and where each comes from; `rohas config schema` prints the JSON Schema
of the file, which editors can check it with.

Strings in the file may refer to environment variables: `${NAME}`, or `${NAME:-default}` for a variable that may be unset
or empty; `$${` stands for the characters themselves. A number or boolean is written as a string then:
`port = \"${PORT}\"`. A secret may also be `file:path`, the content of a file without its last line break. Relative paths
count from the project's root. Secrets are shown as `[redacted]` everywhere.
";

/// The JSON Schema of `config/rohas.toml`.
#[must_use]
pub fn json_schema() -> Json {
    let mut schema = bare_schema();
    let defs = schema.get_mut("$defs").and_then(Json::as_object_mut);
    let mut known: Map<String, Json> = defs.map(std::mem::take).unwrap_or_default();
    for definition in known.values_mut() {
        accept_references(definition);
        for variant in definition.get_mut("oneOf").and_then(Json::as_array_mut).into_iter().flatten() {
            accept_references(variant);
        }
    }
    known.insert(
        "Reference".to_owned(),
        json!({ "type": "string", "description": "Text with a reference to an environment variable.", "pattern": "\\$\\{" }),
    );
    schema["$defs"] = Json::Object(known);
    schema
}

/// The reference page, `docs/reference/settings.md`.
#[must_use]
pub fn reference() -> String {
    let schema = bare_schema();
    let mut page = INTRODUCTION.to_owned();
    page.push_str("\nThis page is generated from the source.\n");
    for (name, section) in properties(&schema) {
        let heading = if name == "adapters" { "adapters.NAME" } else { name };
        page.push_str(&format!("\n## `[{heading}]`\n\n{}\n", text_of(section, "description")));
        let target = section.get("additionalProperties").unwrap_or(section);
        if name == "adapters" {
            page.push_str(
                "\nNAME is a letter, then letters, digits and underscores. The keys are those of `[adapter]`.\n",
            );
            continue;
        }
        let section = resolve(&schema, target);
        for (key, property) in keys_of(&schema, section) {
            match variants(&schema, section) {
                variants if variants.is_empty() => page.push_str(&entry(&schema, heading, key, property)),
                variants if key == "type" => page.push_str(&choice(heading, &variants)),
                variants => {
                    page.push_str(&entry(&schema, heading, key, property));
                    page.push_str(&whose(key, property, &variants));
                }
            }
        }
    }
    page
}

/// The schema as it is derived, without what only the default project has.
fn bare_schema() -> Json {
    let mut schema = Json::from(schema_for!(Settings));
    // The default of a project's name is that of its directory, which the structs do not know.
    if let Some(name) = schema.pointer_mut("/$defs/Project/properties/name").and_then(Json::as_object_mut) {
        name.remove("default");
    }
    // A derived variant demands the `type`, which has a default, and does not refuse other keys.
    let variants = schema.pointer_mut("/$defs/Adapter/oneOf").and_then(Json::as_array_mut);
    for variant in variants.into_iter().flatten().filter_map(Json::as_object_mut) {
        variant.insert("unevaluatedProperties".to_owned(), Json::Bool(false));
        if variant.get("$ref").is_some_and(|target| target == "#/$defs/Memory") {
            variant.remove("required");
        }
    }
    // The defaults of whole sections only repeat those of their keys.
    for section in schema.get_mut("properties").and_then(Json::as_object_mut).into_iter().flat_map(Map::values_mut) {
        if let Some(section) = section.as_object_mut() {
            section.remove("default");
        }
    }
    schema
}

/// Lets every key of a section be text with a reference besides what it is.
fn accept_references(section: &mut Json) {
    let properties = section.get_mut("properties").and_then(Json::as_object_mut);
    for property in properties.into_iter().flat_map(Map::values_mut) {
        let Some(object) = property.as_object_mut() else { continue };
        let outer = ["description", "default"].map(|key| object.remove_entry(key));
        let inner = std::mem::take(object);
        object.extend(outer.into_iter().flatten());
        object.insert("anyOf".to_owned(), json!([inner, { "$ref": "#/$defs/Reference" }]));
    }
}

/// One value that the `type` of a section may have.
struct Variant<'s> {
    name: &'s str,
    description: &'s str,
    keys: Vec<(&'s str, &'s Json)>,
}

/// What a section's `type` chooses between; nothing when it has none.
fn variants<'s>(schema: &'s Json, section: &'s Json) -> Vec<Variant<'s>> {
    let variants = section.get("oneOf").and_then(Json::as_array).map(Vec::as_slice).unwrap_or_default();
    let variant = |variant: &'s Json| Variant {
        name: variant.pointer("/properties/type/const").and_then(Json::as_str).unwrap_or_default(),
        description: text_of(variant, "description"),
        keys: properties(resolve(schema, variant)).collect(),
    };
    variants.iter().map(variant).collect()
}

/// The entry of a `type`.
fn choice(section: &str, variants: &[Variant<'_>]) -> String {
    let mut text = format!("\n### `{section}.type`\n\nWhich of these it is.\n\n");
    for Variant { name, description, .. } in variants {
        text.push_str(&format!("- `\"{name}\"`: {description}\n"));
    }
    text.push_str(&format!("- variable: `{}`\n", variable(section, "type")));
    text
}

/// A line on which values of `type` have a key with this meaning, unless all have it.
fn whose(key: &str, property: &Json, variants: &[Variant<'_>]) -> String {
    let is_this = |(known, other): &(&str, &Json)| *known == key && is_alike(property, other);
    let with = || variants.iter().filter(|variant| variant.keys.iter().any(is_this));
    if with().count() == variants.len() {
        return String::new();
    }
    let names: Vec<String> = with().map(|variant| format!("`{}`", variant.name)).collect();
    format!("- only with the type: {}\n", names.join(" or "))
}

/// Whether two keys of one name, of different values of `type`, say the same.
fn is_alike(one: &Json, other: &Json) -> bool {
    text_of(one, "description") == text_of(other, "description")
}

fn variable(section: &str, key: &str) -> String {
    format!("ROHAS_{}__{}", section.to_uppercase(), key.to_uppercase())
}

/// The keys of a section, and those of its variants when a `type` chooses between them; one that means something else to another of them once more.
fn keys_of<'s>(schema: &'s Json, section: &'s Json) -> Vec<(&'s str, &'s Json)> {
    let mut keys: Vec<(&str, &Json)> = properties(section).collect();
    for variant in section.get("oneOf").and_then(Json::as_array).into_iter().flatten() {
        for part in [variant, resolve(schema, variant)] {
            for (key, property) in properties(part) {
                if !keys.iter().any(|(known, other)| *known == key && is_alike(property, other)) {
                    keys.push((key, property));
                }
            }
        }
    }
    keys
}

fn properties(object: &Json) -> impl Iterator<Item = (&str, &Json)> {
    let properties = object.get("properties").and_then(Json::as_object);
    properties.into_iter().flatten().map(|(key, value)| (key.as_str(), value))
}

fn resolve<'s>(schema: &'s Json, reference: &'s Json) -> &'s Json {
    let path = reference.get("$ref").and_then(Json::as_str).and_then(|path| path.strip_prefix('#'));
    path.and_then(|path| schema.pointer(path)).unwrap_or(reference)
}

fn text_of<'s>(object: &'s Json, key: &str) -> &'s str {
    object.get(key).and_then(Json::as_str).unwrap_or_default()
}

fn entry(schema: &Json, section: &str, key: &str, property: &Json) -> String {
    let description = text_of(property, "description");
    let (title, explanation) = description.split_once("\n\n").unwrap_or((description, ""));
    let mut text = format!("\n### `{section}.{key}`\n\n");
    for paragraph in [title, explanation].into_iter().filter(|paragraph| !paragraph.is_empty()) {
        let stop = if paragraph.ends_with(['.', ':']) { "" } else { "." };
        text.push_str(&format!("{paragraph}{stop}\n\n"));
    }
    text.push_str(&format!("- type: {}\n", type_of(schema, property)));
    text.push_str(&format!("- variable: `{}`\n", variable(section, key)));
    text
}

/// The type of a key in words.
fn type_of(schema: &Json, property: &Json) -> String {
    if let Some(value) = property.get("const") {
        return format!("`{value}`");
    }
    if let Some(values) = property.get("enum").and_then(Json::as_array) {
        return values.iter().map(|value| format!("`{value}`")).collect::<Vec<_>>().join(" or ");
    }
    if property.get("$ref").is_some() {
        let target = resolve(schema, property);
        let name = text_of(property, "$ref").rsplit('/').next().unwrap_or_default();
        return match name {
            "Duration" => "duration, text such as `\"30s\"`".to_owned(),
            "ByteSize" => "size, text such as `\"2MiB\"` or an integer of bytes".to_owned(),
            "Secret" => "secret".to_owned(),
            "BrokerUrl" => "URL as a string; several are separated by commas".to_owned(),
            _ => type_of(schema, target),
        };
    }
    if let Some(variants) = ["anyOf", "oneOf"].iter().find_map(|key| property.get(key)).and_then(Json::as_array) {
        let variants = variants.iter().filter(|variant| text_of(variant, "type") != "null");
        return variants.map(|variant| type_of(schema, variant)).collect::<Vec<_>>().join(" or ");
    }
    let name = match property.get("type") {
        Some(Json::Array(names)) => names.iter().find_map(|name| name.as_str().filter(|name| *name != "null")),
        name => name.and_then(Json::as_str),
    };
    match name {
        Some("array") => format!("list of: {}", type_of(schema, &property["items"])),
        Some("integer") => integer(property),
        other => other.unwrap_or("any").to_owned(),
    }
}

fn integer(property: &Json) -> String {
    match (property.get("minimum"), property.get("maximum")) {
        (Some(min), Some(max)) => format!("integer from {min} to {max}"),
        (Some(min), None) => format!("integer from {min}"),
        _ => "integer".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_described_with_its_default() {
        let schema = bare_schema();
        for (name, section) in properties(&schema).filter(|(name, _)| *name != "adapters") {
            for (key, property) in
                keys_of(&schema, resolve(&schema, section)).into_iter().filter(|(key, _)| *key != "type")
            {
                let description = text_of(property, "description");
                let written = description.split_once("Default: ").map(|(_, default)| default.trim_start_matches('`'));
                let default = match property.get("default") {
                    Some(Json::String(text)) => text.clone(),
                    Some(Json::Array(_)) => "empty".to_owned(),
                    Some(Json::Null) | None => String::new(),
                    Some(other) => other.to_string(),
                };
                let is_right = written.is_some_and(|written| written.starts_with(&default));
                assert!(is_right && description.contains("\n\n"), "{name}.{key}: {description} ({default})");
            }
        }
    }
}

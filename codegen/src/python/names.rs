//! What are things called in Python? The daemon asks here too, so that it looks for what was generated.

use std::collections::BTreeSet;

use rohas_config::schema::model::{Api, Event, WebSocket, snake_case};

const KEYWORDS: [&str; 35] = [
    "False", "None", "True", "and", "as", "assert", "async", "await", "break", "class", "continue", "def", "del",
    "elif", "else", "except", "finally", "for", "from", "global", "if", "import", "in", "is", "lambda", "nonlocal",
    "not", "or", "pass", "raise", "return", "try", "while", "with", "yield",
];

/// Names that generated modules use themselves; a class of that name would hide them.
const USED_IN_MODULES: [&str; 13] = [
    "bool", "bytes", "datetime", "dict", "enum", "float", "int", "list", "pydantic", "runtime", "str", "tuple",
    "typing",
];

/// Attributes of pydantic models that a field must not take.
const MODEL_ATTRIBUTES: [&str; 17] = [
    "model_computed_fields",
    "model_config",
    "model_construct",
    "model_copy",
    "model_dump",
    "model_dump_json",
    "model_extra",
    "model_fields",
    "model_fields_set",
    "model_json_schema",
    "model_parametrized_name",
    "model_post_init",
    "model_rebuild",
    "model_validate",
    "model_validate_json",
    "model_validate_strings",
    "PATH_PARAMS",
];

/// Deprecated methods of pydantic models: a field may take them, type checkers only have to be told.
const MODEL_METHODS: [&str; 12] = [
    "construct",
    "copy",
    "dict",
    "from_orm",
    "json",
    "parse_file",
    "parse_obj",
    "parse_raw",
    "schema",
    "schema_json",
    "update_forward_refs",
    "validate",
];

/// Attributes of every request, which a path parameter must not take.
const REQUEST_ATTRIBUTES: [&str; 7] = ["body", "cookies", "headers", "path_params", "query", "query_params", "self"];

/// Attributes of enumerations that a member must not take.
const ENUM_ATTRIBUTES: [&str; 4] = ["mro", "name", "str", "value"];

/// Methods of `str` that a member may take when type checkers are told.
const STR_METHODS: [&str; 47] = [
    "capitalize",
    "casefold",
    "center",
    "count",
    "encode",
    "endswith",
    "expandtabs",
    "find",
    "format",
    "format_map",
    "index",
    "isalnum",
    "isalpha",
    "isascii",
    "isdecimal",
    "isdigit",
    "isidentifier",
    "islower",
    "isnumeric",
    "isprintable",
    "isspace",
    "istitle",
    "isupper",
    "join",
    "ljust",
    "lower",
    "lstrip",
    "maketrans",
    "partition",
    "removeprefix",
    "removesuffix",
    "replace",
    "rfind",
    "rindex",
    "rjust",
    "rpartition",
    "rsplit",
    "rstrip",
    "split",
    "splitlines",
    "startswith",
    "strip",
    "swapcase",
    "title",
    "translate",
    "upper",
    "zfill",
];

/// A class and the module it is imported from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassPath {
    /// Dotted name, below the source folder: `generated.api.create_user`.
    pub module: String,
    /// Name of the class in it: `CreateUserRequest`.
    pub class: String,
}

/// The class of the request that an api's handler receives.
#[must_use]
pub fn request_class(api: &Api) -> ClassPath {
    ClassPath { module: format!("generated.api.{}", module(&api.name)), class: format!("{}Request", api.name) }
}

/// The class of the reply that an api's handler may return.
#[must_use]
pub fn response_class(api: &Api) -> ClassPath {
    ClassPath { class: format!("{}Response", api.name), ..request_class(api) }
}

/// The class of the event that an event's handlers receive.
#[must_use]
pub fn event_class(event: &Event) -> ClassPath {
    ClassPath { module: format!("generated.events.{}", module(&event.name)), class: class(&event.name) }
}

/// The class of the message that a WebSocket's `onMessage` handlers receive.
#[must_use]
pub fn message_class(websocket: &WebSocket) -> ClassPath {
    ClassPath {
        module: format!("generated.websockets.{}", module(&websocket.name)),
        class: format!("{}Message", websocket.name),
    }
}

/// The class of the connection that a WebSocket's handlers receive.
#[must_use]
pub fn connection_class(websocket: &WebSocket) -> ClassPath {
    ClassPath { class: format!("{}Connection", websocket.name), ..message_class(websocket) }
}

/// The name of the module of a declaration.
pub(super) fn module(name: &str) -> String {
    let snake = snake_case(name);
    if is_keyword(&snake) { format!("{snake}_") } else { snake }
}

/// The name of the class of a record, enumeration or event.
pub(super) fn class(name: &str) -> String {
    let taken = is_keyword(name) || USED_IN_MODULES.contains(&name);
    if taken { format!("{name}_") } else { name.to_owned() }
}

/// The attributes for the fields of a record, in order.
pub(super) fn field_attributes<'a>(fields: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    attributes(fields, &[&KEYWORDS, &MODEL_ATTRIBUTES])
}

/// The attributes for the parameters of a path, in order.
pub(super) fn param_attributes<'a>(params: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    attributes(params, &[&KEYWORDS, &MODEL_ATTRIBUTES, &REQUEST_ATTRIBUTES])
}

/// The members for the variants of an enumeration, in order.
pub(super) fn enum_members<'a>(variants: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    attributes(variants, &[&KEYWORDS, &ENUM_ATTRIBUTES])
}

/// Whether a field of this name hides a method of pydantic's.
pub(super) fn hides_model_method(attribute: &str) -> bool {
    MODEL_METHODS.contains(&attribute)
}

/// Whether an enumeration's member of this name hides a method of `str`.
pub(super) fn hides_str_method(member: &str) -> bool {
    STR_METHODS.contains(&member)
}

/// Whether Python can define a function of this name.
pub(super) fn is_keyword(name: &str) -> bool {
    KEYWORDS.contains(&name)
}

fn attributes<'a>(names: impl IntoIterator<Item = &'a str>, reserved: &[&[&str]]) -> Vec<String> {
    let names: Vec<&str> = names.into_iter().collect();
    let mut taken: BTreeSet<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let attribute = |name: &str| {
        let mut attribute = name.to_owned();
        if reserved.iter().any(|reserved| reserved.contains(&name)) {
            while taken.contains(&attribute) {
                attribute.push('_');
            }
            taken.insert(attribute.clone());
        }
        attribute
    };
    names.iter().copied().map(attribute).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taken_names_get_underscores_until_they_are_free() {
        assert_eq!(
            field_attributes(["class", "class_", "model_dump", "copy"]),
            ["class__", "class_", "model_dump_", "copy"]
        );
        assert_eq!(param_attributes(["id", "body", "self", "import"]), ["id", "body_", "self_", "import_"]);
        assert_eq!(enum_members(["None", "name", "lower"]), ["None_", "name_", "lower"]);
    }

    #[test]
    fn modules_and_classes_can_be_imported() {
        assert_eq!((module("Class"), class("Class")), ("class_".to_owned(), "Class".to_owned()));
        assert_eq!((module("HelloWorldWS"), class("str")), ("hello_world_w_s".to_owned(), "str_".to_owned()));
    }
}

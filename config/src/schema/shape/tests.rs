//! What passes, what becomes of it, and what is said about the rest.

use indexmap::IndexMap;
use proptest::prelude::{BoxedStrategy, Just, Strategy, any, prop, prop_oneof, proptest};
use serde_json::{Value, json};

use super::{Changed, Fault, Shape};
use crate::schema::model::{
    DefaultValue, Enum, Field, Location, Record, RecordKind, Rule, Schema, Transform, Type, Variant,
};

fn field(name: &str, ty: Type) -> Field {
    Field {
        name: name.to_owned(),
        doc: None,
        ty,
        optional: false,
        default: None,
        transforms: Vec::new(),
        rules: Vec::new(),
        id: false,
        auto: false,
        location: Location::default(),
    }
}

fn optional(name: &str, ty: Type) -> Field {
    Field { optional: true, ..field(name, ty) }
}

fn ruled(name: &str, ty: Type, rules: &[Rule]) -> Field {
    Field { rules: rules.to_vec(), ..field(name, ty) }
}

fn record_type(name: &str) -> Type {
    Type::Record(name.to_owned())
}

fn array(item: Type) -> Type {
    Type::Array(Box::new(item))
}

fn map(item: Type) -> Type {
    Type::Map(Box::new(item))
}

struct Builder(Schema);

impl Builder {
    fn new() -> Self {
        Self(Schema::default())
    }

    fn record(mut self, name: &str, fields: impl IntoIterator<Item = Field>) -> Self {
        let fields: IndexMap<String, Field> = fields.into_iter().map(|field| (field.name.clone(), field)).collect();
        let (kind, location) = (RecordKind::Model, Location::default());
        self.0.records.insert(name.to_owned(), Record { name: name.to_owned(), kind, doc: None, fields, location });
        self
    }

    fn variants(mut self, name: &str, variants: &[&str]) -> Self {
        let variants = variants.iter().map(|name| Variant { name: (*name).to_owned(), doc: None }).collect();
        let (name, location) = (name.to_owned(), Location::default());
        self.0.enums.insert(name.clone(), Enum { name, doc: None, variants, location });
        self
    }

    fn shape(&self, ty: &Type) -> Shape {
        Shape::compile(&self.0, ty)
    }
}

/// The shape of a record with these fields.
fn shape(fields: impl IntoIterator<Item = Field>) -> Shape {
    Builder::new().record("R", fields).shape(&record_type("R"))
}

fn order() -> Shape {
    Builder::new()
        .variants("Status", &["pending", "paid", "shipped"])
        .record("Item", [field("sku", Type::String), ruled("quantity", Type::Int, &[Rule::Min(1.0)])])
        .record(
            "Order",
            [
                field("status", Type::Enum("Status".to_owned())),
                ruled("items", array(record_type("Item")), &[Rule::MinItems(1)]),
                optional("note", Type::String),
            ],
        )
        .shape(&record_type("Order"))
}

#[track_caller]
fn faults(shape: &Shape, mut value: Value) -> Vec<Fault> {
    assert!(!shape.fits(&value), "check and fits disagree");
    shape.check(&mut value).unwrap_err()
}

/// Path and code of each fault, `items.0.quantity min`.
#[track_caller]
fn brief(shape: &Shape, value: Value) -> Vec<String> {
    faults(shape, value).iter().map(summary).collect()
}

fn summary(fault: &Fault) -> String {
    let path = serde_json::to_value(&fault.path).unwrap();
    let path: Vec<String> = path.as_array().unwrap().iter().map(|item| item.to_string().replace('"', "")).collect();
    format!("{} {}", path.join("."), fault.code)
}

#[track_caller]
fn passes(shape: &Shape, mut value: Value) {
    let before = value.clone();
    assert!(shape.fits(&value), "check and fits disagree about {value}");
    assert_eq!(shape.check(&mut value), Ok(Changed::No));
    assert_eq!(value, before);
}

#[track_caller]
fn becomes(shape: &Shape, mut value: Value, expected: &Value) {
    assert!(shape.fits(&value), "check and fits disagree about {value}");
    assert_eq!(shape.check(&mut value), Ok(Changed::Yes));
    assert_eq!(&value, expected);
}

#[test]
fn a_value_that_fits_is_left_as_it_is() {
    passes(&order(), json!({ "status": "paid", "items": [{ "sku": "a", "quantity": 2 }], "note": null, "extra": [1] }));
    passes(&order(), json!({ "items": [{ "quantity": 1, "sku": "a" }], "status": "paid" }));
}

#[test]
fn all_faults_are_reported_in_the_order_of_the_document() {
    let value = json!({ "note": 3, "items": [{ "quantity": 0 }, 7], "status": "payed" });
    assert_eq!(
        brief(&order(), value),
        ["note type", "items.0.quantity min", "items.0.sku required", "items.1 type", "status enum"]
    );
}

#[test]
fn a_fault_serialises_with_its_path() {
    let value = json!({ "status": "paid", "items": [{ "sku": "a", "quantity": 0 }] });
    assert_eq!(
        serde_json::to_value(faults(&order(), value)).unwrap(),
        json!([{ "path": ["items", 0, "quantity"], "code": "min", "message": "must be at least 1" }])
    );
}

#[test]
fn a_fault_as_text_begins_with_its_place() {
    let value = json!({ "status": "paid", "items": [{ "sku": "a", "quantity": 0 }] });
    assert_eq!(faults(&order(), value)[0].to_string(), "items[0].quantity must be at least 1");
    assert_eq!(faults(&order(), json!(1))[0].to_string(), "expected an object, found the number 1");
}

#[test]
fn a_root_that_is_no_object_is_one_fault() {
    for value in [json!(null), json!([]), json!("x"), json!(1)] {
        assert_eq!(brief(&order(), value), [" type"]);
    }
}

#[test]
fn null_is_allowed_only_where_a_field_is_optional() {
    let shape = shape([field("a", Type::String), optional("b", Type::String), field("c", Type::Json)]);
    passes(&shape, json!({ "a": "", "b": null, "c": null }));
    assert_eq!(brief(&shape, json!({ "a": null, "b": null, "c": null })), ["a required"]);
    assert_eq!(brief(&shape, json!({ "a": "" })), ["c required"]);
}

#[test]
fn integers_are_64_bits_and_may_have_an_empty_fraction() {
    let shape = Shape::compile(&Schema::default(), &Type::Int);
    passes(&shape, json!(i64::MIN));
    passes(&shape, json!(i64::MAX));
    becomes(&shape, json!(3.0), &json!(3));
    becomes(&shape, json!(-0.0), &json!(0));
    for wrong in [json!(1.5), json!(u64::MAX), json!(1e30), json!("1"), json!(true), json!(null)] {
        assert_eq!(brief(&shape, wrong), [" type"]);
    }
}

#[test]
fn floats_accept_integers_and_leave_them() {
    let shape = Shape::compile(&Schema::default(), &Type::Float);
    passes(&shape, json!(3));
    passes(&shape, json!(3.25));
    assert_eq!(brief(&shape, json!("3")), [" type"]);
}

#[test]
fn bounds_of_large_integers_are_exact() {
    let shape = shape([ruled("n", Type::Int, &[Rule::Max(9_007_199_254_740_992.0), Rule::Min(-5.5)])]);
    passes(&shape, json!({ "n": 9_007_199_254_740_992_i64 }));
    assert_eq!(brief(&shape, json!({ "n": 9_007_199_254_740_993_i64 })), ["n max"]);
    passes(&shape, json!({ "n": -5 }));
    assert_eq!(brief(&shape, json!({ "n": -6 })), ["n min"]);
    assert_eq!(brief(&shape, json!({ "n": -6.0 })), ["n min"]);
}

#[test]
fn lengths_count_unicode_scalar_values() {
    let shape = shape([ruled("s", Type::String, &[Rule::MinLength(2), Rule::MaxLength(3)])]);
    for good in ["ab", "äöü", "日本語", "👍👍"] {
        passes(&shape, json!({ "s": good }));
    }
    for (wrong, code) in [("", "min"), ("日", "min"), ("👍", "min"), ("日本語!", "max"), ("e\u{301}e\u{301}", "max")]
    {
        assert_eq!(brief(&shape, json!({ "s": wrong })), [format!("s {code}_length")]);
    }
}

#[test]
fn several_rules_of_one_text_are_reported_together() {
    let rules = [Rule::MinLength(5), Rule::Pattern("^[a-z]+$".to_owned()), Rule::Email, Rule::Url, Rule::Uuid];
    let shape = shape([ruled("s", Type::String, &rules)]);
    assert_eq!(brief(&shape, json!({ "s": "A" })), ["s min_length", "s pattern", "s email", "s url", "s uuid"]);
}

#[test]
fn a_pattern_may_match_anywhere() {
    let shape = shape([ruled("s", Type::String, &[Rule::Pattern("[0-9]".to_owned())])]);
    passes(&shape, json!({ "s": "a1b" }));
    assert_eq!(faults(&shape, json!({ "s": "ab" }))[0].message, "must match the pattern [0-9]");
}

#[test]
fn texts_are_transformed_in_order_before_they_are_validated() {
    let mut name = ruled("s", Type::String, &[Rule::MaxLength(3), Rule::Pattern("^[a-zä]+$".to_owned())]);
    name.transforms = vec![Transform::Trim, Transform::Lower];
    let shape = shape([name]);
    becomes(&shape, json!({ "s": "  ABC\n" }), &json!({ "s": "abc" }));
    becomes(&shape, json!({ "s": "ÄÄ" }), &json!({ "s": "ää" }));
    passes(&shape, json!({ "s": "ä" }));
    assert_eq!(brief(&shape, json!({ "s": " ABCD " })), ["s max_length"]);
}

#[test]
fn rules_for_text_and_numbers_hold_for_the_items_of_an_array() {
    let mut tags = ruled("tags", array(Type::String), &[Rule::MaxItems(2), Rule::MaxLength(2), Rule::Unique]);
    tags.transforms = vec![Transform::Lower];
    let shape = shape([tags]);
    becomes(&shape, json!({ "tags": ["A", "b"] }), &json!({ "tags": ["a", "b"] }));
    assert_eq!(
        brief(&shape, json!({ "tags": ["abc", "A", "a"] })),
        ["tags max_items", "tags.0 max_length", "tags.2 unique"]
    );
}

#[test]
fn unique_items_differ_as_values() {
    let shape = |item: Type| shape([ruled("a", array(item), &[Rule::Unique])]);
    passes(&shape(Type::Json), json!({ "a": [1, "1", [1], { "x": 1 }, null] }));
    assert_eq!(brief(&shape(Type::Json), json!({ "a": [{ "x": 1, "y": 2 }, 0, { "y": 2, "x": 1 }] })), ["a.2 unique"]);
    assert_eq!(brief(&shape(Type::Float), json!({ "a": [1, 1.0, -0.0, 0] })), ["a.1 unique", "a.3 unique"]);
    let faults = faults(&shape(Type::Int), json!({ "a": [5, 7, 7, 7] }));
    assert_eq!(faults.iter().map(|fault| fault.message.as_str()).collect::<Vec<_>>(), ["must differ from item 1"; 2]);
}

#[test]
fn maps_have_any_keys_and_one_type_of_values() {
    let shape = shape([ruled("m", map(array(Type::Int)), &[Rule::MinItems(1)])]);
    passes(&shape, json!({ "m": { "a": [1], "": [] } }));
    assert_eq!(brief(&shape, json!({ "m": { "x y": [1, "2"] } })), ["m.x y.1 type"]);
    assert_eq!(brief(&shape, json!({ "m": {} })), ["m min_items"]);
    assert_eq!(brief(&shape, json!({ "m": [] })), ["m type"]);
}

#[test]
fn records_may_contain_themselves_and_each_other() {
    let builder = Builder::new()
        .record(
            "Tree",
            [
                field("value", Type::Int),
                optional("children", array(record_type("Tree"))),
                optional("leaf", record_type("Leaf")),
            ],
        )
        .record("Leaf", [field("tree", record_type("Tree"))]);
    let shape = builder.shape(&record_type("Tree"));
    passes(
        &shape,
        json!({ "value": 1, "children": [{ "value": 2, "children": [] }], "leaf": { "tree": { "value": 3 } } }),
    );
    let value = json!({ "value": 1, "children": [{ "value": 2, "leaf": { "tree": { "value": "x" } } }] });
    assert_eq!(brief(&shape, value), ["children.0.leaf.tree.value type"]);
}

#[test]
fn enums_name_the_allowed_values_and_the_nearest() {
    let message = |text: &str| {
        faults(&order(), json!({ "status": text, "items": [{ "sku": "", "quantity": 1 }] }))[0].message.clone()
    };
    assert_eq!(message("PAID"), r#"must be one of "pending", "paid", "shipped"; did you mean "paid"?"#);
    assert_eq!(message("x"), r#"must be one of "pending", "paid", "shipped""#);
}

#[test]
fn times_and_bytes_are_text_that_is_kept() {
    let shape = shape([field("at", Type::DateTime), field("data", Type::Bytes)]);
    passes(&shape, json!({ "at": "2026-01-31T12:00:00", "data": "YWI=" }));
    assert_eq!(brief(&shape, json!({ "at": "yesterday", "data": "%" })), ["at datetime", "data base64"]);
    assert_eq!(brief(&shape, json!({ "at": 0, "data": [] })), ["at type", "data type"]);
}

#[test]
fn missing_fields_get_their_defaults() {
    let with = |name: &str, ty: Type, default: DefaultValue| Field { default: Some(default), ..field(name, ty) };
    let shape = shape([
        with("status", Type::String, DefaultValue::Value(json!("new"))),
        with("at", Type::DateTime, DefaultValue::Now),
        ruled("name", Type::String, &[]),
        Field { rules: vec![Rule::Uuid], ..with("id", Type::String, DefaultValue::Uuid) },
        optional("note", Type::String),
    ]);
    let mut value = json!({ "name": "x", "status": "old" });
    assert_eq!(shape.check(&mut value), Ok(Changed::Yes));
    let object = value.as_object().unwrap();
    assert_eq!(object.keys().collect::<Vec<_>>(), ["name", "status", "at", "id"]);
    assert_eq!(object["status"], "old");
    let at = object["at"].as_str().unwrap();
    assert!(at.len() == "2026-01-31T12:00:00.000000Z".len() && at.ends_with('Z'), "{at}");
    assert_eq!(object["id"].as_str().unwrap().as_bytes()[14], b'4');
    assert_eq!(shape.check(&mut value), Ok(Changed::No));
    assert_eq!(brief(&shape, json!({ "name": "x", "status": null })), ["status required"]);
}

#[test]
fn a_default_is_transformed_and_validated_as_any_value() {
    let mut field = ruled("s", Type::String, &[Rule::MinLength(2)]);
    field.transforms = vec![Transform::Trim];
    field.default = Some(DefaultValue::Value(json!(" ab ")));
    becomes(&shape([field]), json!({}), &json!({ "s": "ab" }));
}

#[test]
fn of_very_many_faults_the_rest_is_counted() {
    let shape = Shape::compile(&Schema::default(), &array(Type::Int));
    let faults = faults(&shape, json!(vec!["x"; 150]));
    assert_eq!(faults.len(), 101);
    let last = faults.last().unwrap();
    assert_eq!((last.code, last.message.as_str(), last.path.len()), ("more", "50 more faults are not listed", 0));
}

#[test]
fn messages_do_not_repeat_long_texts() {
    let shape = Shape::compile(&Schema::default(), &Type::Int);
    assert_eq!(faults(&shape, json!("abc"))[0].message, r#"expected an integer, found the string "abc""#);
    assert_eq!(faults(&shape, json!("x".repeat(1000)))[0].message, "expected an integer, found a string");
}

fn search() -> Shape {
    Builder::new()
        .variants("Sort", &["name", "price"])
        .record(
            "Search",
            [
                optional("q", Type::String),
                Field {
                    default: Some(DefaultValue::Value(json!(10))),
                    ..ruled("limit", Type::Int, &[Rule::Max(100.0)])
                },
                optional("exact", Type::Boolean),
                optional("max", Type::Float),
                optional("sort", Type::Enum("Sort".to_owned())),
                optional("ids", array(Type::Int)),
            ],
        )
        .shape(&record_type("Search"))
}

#[test]
fn text_parameters_become_typed_values() {
    let params = [
        ("ids", "3"),
        ("limit", "5"),
        ("exact", "TRUE"),
        ("max", "1.5"),
        ("ids", "4"),
        ("sort", "price"),
        ("q", "1"),
        ("limit", "7"),
        ("unknown", "x"),
    ];
    assert_eq!(
        search().check_text_params(params),
        Ok(json!({ "ids": [3, 4], "limit": 7, "exact": true, "max": 1.5, "sort": "price", "q": "1" }))
    );
    assert_eq!(search().check_text_params([]), Ok(json!({ "limit": 10 })));
}

#[test]
fn wrong_text_parameters_are_named() {
    let params = [("limit", "500"), ("ids", "1"), ("ids", "x"), ("exact", "maybe"), ("sort", "prize"), ("max", "NaN")];
    let faults = search().check_text_params(params).unwrap_err();
    let brief: Vec<String> = faults.iter().map(summary).collect();
    assert_eq!(brief, ["limit max", "ids.1 type", "exact type", "sort enum", "max type"]);
    assert_eq!(faults[1].message, r#"expected an integer, found the string "x""#);
}

#[test]
fn path_parameters_are_converted_to_the_type_of_a_field() {
    let shape = search();
    assert_eq!(shape.convert_text("limit", "5"), Some(json!(5)));
    assert_eq!(shape.convert_text("limit", "five"), None);
    assert_eq!(shape.convert_text("q", "5"), Some(json!("5")));
    assert_eq!(shape.convert_text("max", "9007199254740993"), Some(json!(9_007_199_254_740_993_i64)));
    assert_eq!(shape.convert_text("ids", "5"), None);
    assert_eq!(shape.convert_text("other", "5"), None);
    assert!(shape.has_field("q") && !shape.has_field("other"));
    assert!(!Shape::compile(&Schema::default(), &Type::Json).has_field("q"));
}

/// Values that come near an order.
fn near_order() -> BoxedStrategy<Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-5..5_i32).prop_map(|whole| Value::from(f64::from(whole))),
        prop_oneof!["pending", "paid", "Paid", "[a-zä]{0,4}"].prop_map(Value::from),
    ];
    let name = prop_oneof!["sku", "quantity", "status", "items", "note", "other"];
    leaf.prop_recursive(4, 32, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((name.clone(), inner), 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
    .boxed()
}

proptest! {
    #[test]
    fn what_fits_passes_and_what_passed_passes_unchanged(value in near_order()) {
        let shape = order();
        let mut checked = value.clone();
        let result = shape.check(&mut checked);
        assert_eq!(shape.fits(&value), result.is_ok());
        if let Ok(changed) = result {
            assert_eq!(changed == Changed::Yes, checked != value);
            assert_eq!(shape.check(&mut checked), Ok(Changed::No));
        }
    }

    #[test]
    fn valid_orders_pass(quantities in prop::collection::vec(1..i64::MAX, 1..5), note in any::<Option<String>>()) {
        let items: Vec<Value> = quantities.iter().map(|quantity| json!({ "sku": "a", "quantity": quantity })).collect();
        passes(&order(), json!({ "items": items, "status": "paid", "note": note }));
    }
}

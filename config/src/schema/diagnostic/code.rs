//! Which kinds of findings are there? The one table of codes, with an explanation of each.

use std::fmt;

use serde::{Serialize, Serializer};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The project can't run like this.
    Error,
    /// The project runs; something in it is probably not meant.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

macro_rules! codes {
    ($($name:ident $severity:ident $text:literal $explanation:literal)*) => {
        /// Stable identifier of a kind of finding.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $(#[doc = $explanation] $name,)*
        }

        impl Code {
            /// Every code there is, grouped by subject.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The text that is printed and put into JSON: `schema::unknown-type`.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => concat!("schema::", $text),)* }
            }

            /// What the finding means and what to do about it, in general.
            #[must_use]
            pub fn explanation(self) -> &'static str {
                match self { $(Self::$name => $explanation,)* }
            }

            /// How bad it is unless a strict check makes it worse.
            #[must_use]
            pub fn severity(self) -> Severity {
                match self { $(Self::$name => Severity::$severity,)* }
            }
        }
    };
}

codes! {
    // Files
    InvalidUtf8 Error "invalid-utf8" "The file is not UTF-8. Save it in that encoding."
    MissingImport Error "missing-import" "An import names a file that does not exist, relative to the importing file or to the schema directory."
    ImportCycle Warning "import-cycle" "Files import each other in a circle. All files of a schema are one namespace, so the imports can be removed."
    // Syntax
    UnknownCharacter Error "unknown-character" "A character that has no meaning here."
    UnclosedText Error "unclosed-text" "A text has no closing quote."
    UnclosedComment Error "unclosed-comment" "A block comment has no `*/`. Block comments do not nest."
    UnclosedBlock Error "unclosed-block" "A block or list has no closing bracket."
    UnexpectedToken Error "unexpected-token" "Something else was expected here."
    UnknownKeyword Error "unknown-keyword" "A declaration starts with enum, model, type, input, api, event, cron, ws or import."
    TooDeep Error "too-deep" "Types, lists or objects are nested too deeply to be meant."
    TooManyErrors Error "too-many-errors" "There are more findings than are shown; of a file with very many syntax errors the rest is not read."
    MultilineText Warning "multiline-text" "A text spans lines. That is allowed, but usually its closing quote is missing."
    MissingSpace Warning "missing-space" "A keyword and a name are written as one word."
    // Names
    DuplicateName Error "duplicate-name" "Two declarations have one name. Enums, models, types, inputs, apis, events, crons and ws share a namespace."
    DuplicateField Error "duplicate-field" "Two fields of a record have one name."
    DuplicateVariant Error "duplicate-variant" "Two variants of an enum have one name."
    FileCollision Error "file-collision" "Two declarations would generate the same file, because their names differ only in case."
    BadName Error "bad-name" "A name is made of ASCII letters, digits and underscores, and starts with a letter."
    ShadowedType Warning "shadowed-type" "A declaration has the name of a built-in type, which is what the name will mean in fields."
    KeywordModule Warning "keyword-module" "The generated module has the name of a Python keyword, which an import statement can't contain."
    // Types and fields
    UnknownType Error "unknown-type" "No built-in type, enum or record has this name."
    BadType Error "bad-type" "This is not a type, or not one that may stand here."
    InfiniteRecord Error "infinite-record" "A record requires itself, so no value of it could be finite. Make one field optional or an array."
    EmptyEnum Error "empty-enum" "An enum needs at least one variant."
    // Attributes
    UnknownAttribute Warning "unknown-attribute" "No attribute has this name; it is ignored."
    RepeatedAttribute Warning "repeated-attribute" "An attribute is given twice; the last one counts."
    AttributeArgument Error "attribute-argument" "An attribute has a wrong number or kind of arguments."
    AttributeTarget Error "attribute-target" "An attribute stands on a type that it does not apply to."
    BadPattern Error "bad-pattern" "The argument of @pattern is not a regular expression."
    BadDefault Error "bad-default" "The default does not fit the field's type or its other attributes."
    BareDefault Warning "bare-default" "A bare word as the default of a String is read as its text. Write it in quotes."
    EmptyRange Error "empty-range" "A lower bound is above its upper bound, so that no value could be valid."
    // Properties
    UnknownProperty Error "unknown-property" "The declaration has no property of this name."
    RepeatedProperty Warning "repeated-property" "A property is given twice; the last one counts."
    MissingProperty Error "missing-property" "A property that the declaration can't do without is missing."
    BadValue Error "bad-value" "The value of a property is of the wrong kind or out of range."
    UnknownEvent Error "unknown-event" "No event has this name."
    RepeatedItem Warning "repeated-item" "A list names something twice; it counts once."
    // Endpoints
    BadMethod Error "bad-method" "The method of an api is GET, POST, PUT, PATCH or DELETE. HEAD and OPTIONS are answered without being declared."
    BadPath Error "bad-path" "A path starts with `/`; its parameters are whole segments: `/users/{id}` or `/users/:id`."
    RouteConflict Error "route-conflict" "Two endpoints would answer the same requests."
    ReservedPath Error "reserved-path" "The daemon answers this path itself."
    BodyIgnored Warning "body-ignored" "Clients and proxies drop the body of a GET request."
    BadQuery Error "bad-query" "The fields of a query record are scalars, enums, or arrays of them, because a query string can't hold more."
    ShadowedParameter Warning "shadowed-parameter" "A path parameter has the name of another member of the request, so it is only found among the path parameters."
    // Events
    BadKey Error "bad-key" "The key of an event is a scalar field of its payload."
    BadTransport Error "bad-transport" "The `type` of an event is sqs or eventbridge. Other brokers are named with `adapter`."
    UnknownAdapter Error "unknown-adapter" "The settings have no adapter of this name."
    // Crons
    BadSchedule Error "bad-schedule" "A schedule has five fields (minute, hour, day, month, weekday) or six, with seconds first."
    IdleStep Warning "idle-step" "The step in a schedule is so long that one value is left."
    BadTimezone Error "bad-timezone" "A time zone is an IANA name such as Europe/Berlin."
    // Handlers
    MissingHandler Warning "missing-handler" "No file exists for a declared handler."
    UnreachableHandler Warning "unreachable-handler" "Nothing in the schema names this handler file, so it is never called."
}

impl fmt::Display for Code {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

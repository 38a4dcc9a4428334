//! Which attributes are read and written, and how long may they be?

/// Longest value of an attribute that is read, in bytes. A key that is longer does not survive the way through a broker.
pub const MAX_ATTRIBUTE: usize = 64 * 1024;

/// An attribute that means something to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Name {
    SpecVersion,
    Id,
    Source,
    Type,
    Subject,
    Time,
    DataContentType,
    TraceParent,
    CausationId,
    Version,
    Hops,
    Dedupe,
}

impl Name {
    pub(super) const ALL: [Self; 12] = [
        Self::SpecVersion,
        Self::Id,
        Self::Source,
        Self::Type,
        Self::Subject,
        Self::Time,
        Self::DataContentType,
        Self::TraceParent,
        Self::CausationId,
        Self::Version,
        Self::Hops,
        Self::Dedupe,
    ];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::SpecVersion => "specversion",
            Self::Id => "id",
            Self::Source => "source",
            Self::Type => "type",
            Self::Subject => "subject",
            Self::Time => "time",
            Self::DataContentType => "datacontenttype",
            Self::TraceParent => "traceparent",
            Self::CausationId => "causationid",
            Self::Version => "rohasversion",
            Self::Hops => "rohashops",
            Self::Dedupe => "rohasdedupe",
        }
    }

    pub(super) fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == name)
    }
}

/// The version of CloudEvents that is written and read.
pub(super) const SPEC_VERSION: &str = "1.0";

/// Message attributes of the original.
pub(super) const TOPIC: &str = "topic";
pub(super) const TIMESTAMP: &str = "timestamp";

/// The attribute of [`compact`](super::compact) that has what would be attributes of their own elsewhere: `name=value` between semicolons.
pub(super) const PACKED: &str = "rohas";

/// What is packed, by its name there.
pub(super) const PACKED_NAMES: [(&str, Name); 4] =
    [("causationid", Name::CausationId), ("version", Name::Version), ("hops", Name::Hops), ("dedupe", Name::Dedupe)];

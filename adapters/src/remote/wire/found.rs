//! Which attributes has a message, and what do they mean? First all of them as text, then as what they say.

use std::borrow::Cow;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::value::RawValue;
use uuid::Uuid;

use super::name::{MAX_ATTRIBUTE, Name, PACKED, PACKED_NAMES, SPEC_VERSION};
use super::object::{self, Object, Text};
use super::read::Reason;
use super::{text, time};
use crate::envelope::TraceContext;

/// The source of a message that does not say where it comes from.
pub(super) const UNKNOWN_SOURCE: &str = "unknown";

/// The attributes of a message, as they came.
#[derive(Debug, Default)]
pub(super) struct Found<'a> {
    values: [Option<Cow<'a, str>>; Name::ALL.len()],
}

/// What the attributes say.
#[derive(Debug)]
pub(super) struct Meaning {
    /// `None` where no id was given.
    pub(super) id: Option<Uuid>,
    pub(super) source: Arc<str>,
    pub(super) key: Option<Arc<str>>,
    pub(super) time: Option<SystemTime>,
    pub(super) trace: Option<TraceContext>,
    pub(super) causation: Option<Uuid>,
    pub(super) version: u32,
    pub(super) hops: u32,
    pub(super) dedupe: Option<Duration>,
}

impl<'a> Found<'a> {
    /// The attributes that stand in headers, to be checked. Those without a meaning are passed over.
    pub(super) fn in_headers(headers: &'a [(Box<str>, Box<str>)]) -> Result<Self, Reason> {
        let mut found = Self::default();
        for (name, value) in headers {
            if let Some(name) = Name::find(name) {
                found.put(name, Cow::Borrowed(value))?;
            } else if **name == *PACKED {
                found.unpack(value)?;
            }
        }
        Ok(found)
    }

    /// The attributes that are members of an object, as checked.
    pub(super) fn in_object(object: &Object<'a>) -> Result<Self, Reason> {
        if let Some(name) = object.repeated {
            return Err(Reason::Repeated(name));
        }
        let mut found = Self::default();
        for (name, value) in object.attributes() {
            if let Some(text) = plain_text(name, value)? {
                found.put(name, text)?;
            }
        }
        found.check()?;
        Ok(found)
    }

    /// Takes over what others say and this does not.
    pub(super) fn complete(&mut self, others: Self) {
        for (own, other) in self.values.iter_mut().zip(others.values) {
            *own = own.take().or(other);
        }
    }

    pub(super) fn get(&self, name: Name) -> Option<&str> {
        self.values[name as usize].as_deref()
    }

    fn put(&mut self, name: Name, value: Cow<'a, str>) -> Result<(), Reason> {
        if value.len() > MAX_ATTRIBUTE {
            return Err(Reason::TooLong { name: name.as_str(), length: value.len() });
        }
        let place = &mut self.values[name as usize];
        if place.as_ref().is_some_and(|known| *known != value) {
            return Err(Reason::Repeated(name.as_str()));
        }
        *place = Some(value);
        Ok(())
    }

    /// Unknown parts are passed over, as unknown attributes are.
    fn unpack(&mut self, packed: &'a str) -> Result<(), Reason> {
        let parts = packed.split(';').filter_map(|part| part.split_once('='));
        for (name, value) in parts {
            if let Some((_, name)) = PACKED_NAMES.into_iter().find(|(known, _)| *known == name) {
                self.put(name, Cow::Borrowed(value))?;
            }
        }
        Ok(())
    }

    /// What CloudEvents asks for.
    pub(super) fn check(&self) -> Result<(), Reason> {
        match self.get(Name::SpecVersion) {
            Some(SPEC_VERSION) => {}
            Some(other) => return Err(Reason::SpecVersion(other.chars().take(16).collect())),
            None => return Err(Reason::Missing(Name::SpecVersion.as_str())),
        }
        let missing = [Name::Id, Name::Source, Name::Type].into_iter().find(|name| self.get(*name).is_none());
        if let Some(name) = missing {
            return Err(Reason::Missing(name.as_str()));
        }
        // All that have no id to speak of would be copies of each other.
        if self.get(Name::Id) == Some("") {
            return Err(Reason::Missing(Name::Id.as_str()));
        }
        Ok(())
    }

    pub(super) fn meaning(&self) -> Result<Meaning, Reason> {
        let version = self.number(Name::Version, "a version")?.unwrap_or(0);
        let source = self.get(Name::Source).unwrap_or(UNKNOWN_SOURCE);
        let own_source = if version == 0 { Cow::Borrowed(source) } else { text::decoded(source) };
        let dedupe = self.number(Name::Dedupe, "a number of milliseconds")?.map(Duration::from_millis);
        Ok(Meaning {
            id: self.get(Name::Id).map(|id| unique(source, id)),
            source: own_source.into(),
            key: self.get(Name::Subject).map(Into::into),
            time: self.time()?,
            trace: self.get(Name::TraceParent).and_then(TraceContext::parse_or_root),
            // Others have ids of other kinds in it, which say nothing here.
            causation: self.get(Name::CausationId).and_then(|id| Uuid::try_parse(id).ok()),
            version,
            hops: self.number(Name::Hops, "a number of events")?.unwrap_or(0),
            // Ours says nothing where it means never.
            dedupe: dedupe.or_else(|| (version > 0).then_some(Duration::ZERO)),
        })
    }

    fn time(&self) -> Result<Option<SystemTime>, Reason> {
        let Some(text) = self.get(Name::Time) else { return Ok(None) };
        let time = time::parse_rfc3339(text);
        time.map(Some).ok_or(Reason::Value { name: Name::Time.as_str(), expected: "a time as of RFC 3339" })
    }

    fn number<T: FromStr>(&self, name: Name, expected: &'static str) -> Result<Option<T>, Reason> {
        let Some(text) = self.get(name) else { return Ok(None) };
        // `parse` would accept a sign.
        let digits = Some(text).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        let number = digits.and_then(|digits| digits.parse().ok());
        number.map(Some).ok_or(Reason::Value { name: name.as_str(), expected })
    }
}

/// An id that is a UUID as it is; any other one is unique only together with its source.
fn unique(source: &str, id: &str) -> Uuid {
    let derived = |_not_a_uuid| {
        let source = Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("rohas source\n{source}").as_bytes());
        Uuid::new_v5(&source, id.as_bytes())
    };
    Uuid::try_parse(id).unwrap_or_else(derived)
}

/// The same id each time that the broker hands the message out.
pub(super) fn of_place(event: &str, place: &str) -> Uuid {
    let event = Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("rohas place\n{event}").as_bytes());
    Uuid::new_v5(&event, place.as_bytes())
}

/// The value of an attribute in JSON. `null` is as good as absent; of what we write as text, numbers are understood too.
fn plain_text<'a>(name: Name, value: &'a RawValue) -> Result<Option<Cow<'a, str>>, Reason> {
    let json = value.get();
    match name {
        _ if json == "null" => Ok(None),
        _ if object::is_string(value) => Ok(Some(serde_json::from_str::<Text<'a>>(json)?.0)),
        Name::Version | Name::Hops | Name::Dedupe if object::is_number(value) => Ok(Some(Cow::Borrowed(json))),
        _ => Err(Reason::Value { name: name.as_str(), expected: "a string" }),
    }
}

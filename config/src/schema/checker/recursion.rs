//! Can every record have a finite value?

use super::Checker;
use crate::schema::{
    diagnostic::{Code, Fault},
    model::Type,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Visit {
    Not,
    Open,
    Done,
}

/// A longer circle is shown without its middle.
const MAX_WAY: usize = 10;

impl Checker<'_> {
    /// Reports records that require themselves, directly or through others. Without recursion of its own: a chain of
    /// records may be as long as a file allows.
    pub(super) fn recursion(&mut self) {
        let edges = self.required_records();
        let mut visits = vec![Visit::Not; edges.len()];
        for start in 0..edges.len() {
            if visits[start] != Visit::Not {
                continue;
            }
            visits[start] = Visit::Open;
            let mut path = vec![(start, 0)];
            while let Some((record, next)) = path.last_mut() {
                let record = *record;
                let Some((field, to)) = edges[record].get(*next) else {
                    visits[record] = Visit::Done;
                    path.pop();
                    continue;
                };
                *next += 1;
                match visits[*to] {
                    Visit::Not => {
                        visits[*to] = Visit::Open;
                        path.push((*to, 0));
                    }
                    Visit::Open => {
                        let from = path.iter().position(|(other, _)| other == to).unwrap_or(0);
                        let circle: Vec<usize> = path[from..].iter().map(|(other, _)| *other).collect();
                        self.infinite(&circle, field);
                    }
                    Visit::Done => {}
                }
            }
        }
    }

    /// Per record the fields that need another record to be there.
    fn required_records(&self) -> Vec<Vec<(String, usize)>> {
        let records = &self.schema.records;
        let fields_of = |record: &crate::schema::model::Record| {
            let needed = record.fields.values().filter(|field| !field.optional).filter_map(|field| match &field.ty {
                Type::Record(name) => Some((field.name.clone(), records.get_index_of(name)?)),
                _ => None,
            });
            needed.collect()
        };
        records.values().map(fields_of).collect()
    }

    fn infinite(&mut self, circle: &[usize], field: &str) {
        let name =
            |index: usize| self.schema.records.get_index(index).map(|(name, _)| name.as_str()).unwrap_or_default();
        let (Some(first), Some(last)) = (circle.first(), circle.last()) else { return };
        let mut way: Vec<&str> = circle.iter().chain([first]).map(|index| name(*index)).collect();
        if way.len() > MAX_WAY {
            way.splice(MAX_WAY / 2..way.len() - MAX_WAY / 2, ["..."]);
        }
        let message = match circle {
            [only] => format!("`{}` requires itself, so no value of it is finite", name(*only)),
            _ => format!("`{}` requires itself, so no value of it is finite: {}", name(*first), way.join(" -> ")),
        };
        let Some(place) = self.fields.get(&(name(*last).to_owned(), field.to_owned())) else { return };
        let fault = Fault::new(Code::InfiniteRecord, *place, message);
        self.report(
            fault
                .label("required here")
                .help(format!("make it optional with `?`, or an array: `{field} {}?`", name(*first))),
        );
    }
}

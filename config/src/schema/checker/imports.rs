//! Do imports name files, and do they go round in circles?

use super::Checker;
use crate::schema::{
    diagnostic::{Code, Fault},
    source::{FileId, Place},
    suggest::closest,
    syntax::{File, Import, Item},
};

/// An import that names a file.
#[derive(Debug, Clone, Copy)]
struct Edge {
    place: Place,
    to: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Visit {
    Not,
    Open,
    Done,
}

impl Checker<'_> {
    pub(super) fn imports(&mut self, files: &[(FileId, File)]) {
        let mut edges: Vec<Vec<Edge>> = vec![Vec::new(); files.len()];
        for (from, (id, file)) in files.iter().enumerate() {
            for item in &file.items {
                let Item::Import(import) = item else { continue };
                let place = Place { file: *id, span: import.path_span };
                let target = self.sources.imported(*id, &import.path);
                match target.and_then(|target| files.iter().position(|(other, _)| *other == target)) {
                    Some(to) => edges[from].push(Edge { place, to }),
                    None => self.missing_import(import, place),
                }
            }
        }
        for place in cycles(&edges) {
            let fault = Fault::new(Code::ImportCycle, place, "the files import each other in a circle");
            self.report(fault.help("all files of a schema are one namespace; remove the import"));
        }
    }

    fn missing_import(&mut self, import: &Import, place: Place) {
        let names = self.sources.files().iter().map(|file| file.name.rsplit('/').next().unwrap_or(&file.name));
        let written = import.path.rsplit('/').next().unwrap_or(&import.path);
        let with_extension = format!("{written}.ro");
        let near = closest(written, names.clone()).or_else(|| closest(&with_extension, names)).map(str::to_owned);
        let help = match near {
            Some(name) if name != written => format!("did you mean `{name}`?"),
            _ => "the path is relative to this file or to the schema directory".to_owned(),
        };
        let fault = Fault::new(Code::MissingImport, place, format!("there is no file `{}`", import.path));
        self.report(fault.label("imported here").help(help));
    }
}

/// The imports that close a circle, found without recursion: there may be any number of files.
fn cycles(edges: &[Vec<Edge>]) -> Vec<Place> {
    let mut found = Vec::new();
    let mut visits = vec![Visit::Not; edges.len()];
    for start in 0..edges.len() {
        if visits[start] != Visit::Not {
            continue;
        }
        visits[start] = Visit::Open;
        let mut path = vec![(start, 0)];
        while let Some((file, next)) = path.last_mut() {
            let Some(edge) = edges[*file].get(*next) else {
                visits[*file] = Visit::Done;
                path.pop();
                continue;
            };
            *next += 1;
            match visits[edge.to] {
                Visit::Not => {
                    visits[edge.to] = Visit::Open;
                    path.push((edge.to, 0));
                }
                Visit::Open => found.push(edge.place),
                Visit::Done => {}
            }
        }
    }
    found
}

//! Would two endpoints answer the same requests?

use std::collections::HashMap;

use super::{Checker, Decl};
use crate::schema::{
    diagnostic::{Code, Fault},
    model::{Method, PathPattern, Segment},
    source::Place,
};

/// An endpoint as the router sees it.
pub(super) struct Route {
    method: Method,
    /// The path with all parameters alike.
    shape: Vec<Option<String>>,
    owner: String,
    source: String,
    place: Place,
}

impl Checker<'_> {
    pub(super) fn route(&mut self, decl: Decl<'_>, method: Method, path: &PathPattern) {
        let shape = path.segments.iter().map(|segment| match segment {
            Segment::Literal(text) => Some(text.clone()),
            Segment::Param(_) => None,
        });
        let (shape, source) = (shape.collect(), path.source.clone());
        self.routes.push(Route { method, shape, owner: decl.describe(), source, place: decl.name_place() });
    }

    /// A literal segment may overlap with a parameter: the literal one wins, so that is no conflict.
    pub(super) fn route_conflicts(&mut self) {
        let routes = std::mem::take(&mut self.routes);
        let mut first_of: HashMap<(Method, &[Option<String>]), &Route> = HashMap::new();
        for route in &routes {
            let Some(first) = first_of.insert((route.method, &route.shape), route) else { continue };
            let message = format!(
                "{} and {} both answer {} \"{}\"",
                first.owner,
                route.owner,
                route.method.as_str(),
                route.source
            );
            let fault = Fault::new(Code::RouteConflict, route.place, message);
            let other = format!("answers {} \"{}\"", first.method.as_str(), first.source);
            self.report(fault.related(first.place, other).help("change a path or a method"));
        }
    }
}

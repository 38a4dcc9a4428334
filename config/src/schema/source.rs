//! Which `.ro` files does a project have, and what stands in them?
//!
//! Files are found recursively and sorted by path, so everything built from them is the same on every machine.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use super::{
    model::Location,
    parser,
    syntax::{Item, Span},
};

/// Why the files could not be read at all.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing is at the given path.
    #[error("Schema path not found: {}", .0.display())]
    NotFound(PathBuf),
    /// The directory has no schema file, at any depth.
    #[error("No .ro files found in {}", .0.display())]
    Empty(PathBuf),
    /// A file or directory exists and can't be read.
    #[error("cannot read {}", .path.display())]
    Read {
        /// What could not be read.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Index of a file in [`Sources`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(usize);

impl FileId {
    /// The only file where there is but one.
    pub(crate) const FIRST: Self = Self(0);
}

/// A stretch of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Which file.
    pub file: FileId,
    /// Which bytes of it.
    pub span: Span,
}

/// The files that are checked together.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    base: PathBuf,
    files: Vec<File>,
}

/// One file and its text.
#[derive(Debug, Clone)]
pub struct File {
    /// Where it was read from; without `.` and `..` where that is possible.
    pub path: PathBuf,
    /// The path relative to the project's root, with `/` between the parts.
    pub name: String,
    /// The text; what was not UTF-8 is replaced by U+FFFD.
    pub text: Arc<str>,
    /// Offset of the first byte that was not UTF-8.
    pub invalid_utf8: Option<usize>,
    /// The file was read only so that its names are known: it was not asked for, nothing is reported about it.
    pub background: bool,
    line_starts: Vec<usize>,
    /// Every character is one byte, so columns need no counting.
    ascii: bool,
}

impl Sources {
    /// Reads the file or all files of the directory `schema`, and what they import.
    ///
    /// `root` is the project's directory: file names in messages are relative to it. A single file that lies in the
    /// project's `schema` directory is read together with its neighbours, which stay in the background: their names
    /// are known, their faults are not reported.
    ///
    /// # Errors
    ///
    /// When nothing is at the path, no schema file is in it, or one can't be read.
    pub fn read(root: &Path, schema: &Path) -> Result<Self, Error> {
        if !schema.exists() {
            return Err(Error::NotFound(schema.to_owned()));
        }
        let base = base_of(root, schema);
        let mut paths: BTreeMap<PathBuf, bool> = BTreeMap::new();
        if schema.is_file() && base.is_dir() {
            paths.extend(find(&base)?.into_iter().map(|path| (normalize(&path), true)));
        }
        paths.extend(find(schema)?.into_iter().map(|path| (normalize(&path), false)));
        let mut sources = Self { base, files: Vec::with_capacity(paths.len()) };
        for (path, background) in paths {
            sources.files.push(File { background, ..File::read(root, path)? });
        }
        sources.read_imports(root)?;
        Ok(sources)
    }

    /// Sources from memory: pairs of a file's name and its text.
    pub fn from_texts<'a>(texts: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let files = texts
            .into_iter()
            .map(|(name, text)| File::new(PathBuf::from(name), name.to_owned(), text.as_bytes()))
            .collect();
        Self { base: PathBuf::new(), files }
    }

    /// All files, in the order of their ids.
    #[must_use]
    pub fn files(&self) -> &[File] {
        &self.files
    }

    /// All files with their ids.
    pub fn iter(&self) -> impl Iterator<Item = (FileId, &File)> {
        self.files.iter().enumerate().map(|(index, file)| (FileId(index), file))
    }

    /// One file.
    #[must_use]
    pub fn file(&self, id: FileId) -> &File {
        &self.files[id.0]
    }

    /// Where a stretch begins.
    #[must_use]
    pub fn location(&self, place: Place) -> Location {
        let file = self.file(place.file);
        let (line, column) = file.position(place.span.start);
        Location { file: file.name.clone(), line, column }
    }

    /// The file that `import "<path>"` in the file `from` means: relative to that file, else to the schema directory.
    #[must_use]
    pub fn imported(&self, from: FileId, path: &str) -> Option<FileId> {
        self.import_candidates(from, path)
            .into_iter()
            .find_map(|candidate| self.files.iter().position(|file| file.path == candidate))
            .map(FileId)
    }

    fn import_candidates(&self, from: FileId, path: &str) -> [PathBuf; 2] {
        let directory = self.files[from.0].path.parent().unwrap_or(Path::new(""));
        [normalize(&directory.join(path)), normalize(&self.base.join(path))]
    }

    /// Reads files that are imported and lie outside of what was found. Imports of nothing are the checker's to report.
    fn read_imports(&mut self, root: &Path) -> Result<(), Error> {
        let mut index = 0;
        while index < self.files.len() {
            let id = FileId(index);
            index += 1;
            for path in imports_of(id, &self.files[id.0]) {
                if self.imported(id, &path).is_some() {
                    continue;
                }
                let found = self.import_candidates(id, &path).into_iter().find(|candidate| candidate.is_file());
                if let Some(found) = found {
                    let background = self.files[id.0].background;
                    self.files.push(File { background, ..File::read(root, found)? });
                }
            }
        }
        Ok(())
    }
}

fn imports_of(id: FileId, file: &File) -> Vec<String> {
    let parsed = parser::parse(&file.text, id);
    let imports = parsed.file.items.into_iter().filter_map(|item| match item {
        Item::Import(import) => Some(import.path),
        Item::Declaration(_) => None,
    });
    imports.collect()
}

impl File {
    fn read(root: &Path, path: PathBuf) -> Result<Self, Error> {
        let bytes = fs::read(&path).map_err(|source| Error::Read { path: path.clone(), source })?;
        let name = display_name(root, &path);
        Ok(Self::new(path, name, &bytes))
    }

    fn new(path: PathBuf, name: String, bytes: &[u8]) -> Self {
        let invalid_utf8 = std::str::from_utf8(bytes).err().map(|error| error.valid_up_to());
        let text: Arc<str> = String::from_utf8_lossy(bytes).into();
        let line_starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        let ascii = text.is_ascii();
        Self { path, name, text, invalid_utf8, background: false, line_starts, ascii }
    }

    /// Line and column of a byte offset, both counted from 1; columns count characters.
    #[must_use]
    pub fn position(&self, offset: usize) -> (u32, u32) {
        let offset = offset.min(self.text.len());
        let line = self.line_starts.partition_point(|start| *start <= offset).max(1);
        let start = self.line_starts[line - 1];
        let column =
            if self.ascii { offset - start } else { self.text.get(start..offset).unwrap_or_default().chars().count() };
        let clamp = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        (clamp(line), clamp(column + 1))
    }
}

/// The schema files at a path: itself when it is a file, else all `.ro` files below it, sorted. Hidden directories are
/// left out, links to directories are followed once.
///
/// # Errors
///
/// When nothing is at the path, no schema file is in it, or a directory can't be read.
pub fn find(path: &Path) -> Result<Vec<PathBuf>, Error> {
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    if !path.exists() {
        return Err(Error::NotFound(path.to_owned()));
    }
    let mut found = BTreeSet::new();
    let mut seen = BTreeSet::new();
    let mut directories = vec![path.to_owned()];
    while let Some(directory) = directories.pop() {
        let read = |source| Error::Read { path: directory.clone(), source };
        if !seen.insert(directory.canonicalize().map_err(read)?) {
            continue;
        }
        for entry in fs::read_dir(&directory).map_err(read)? {
            let entry = entry.map_err(read)?.path();
            let hidden = entry.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
            if entry.is_dir() && !hidden {
                directories.push(entry);
            } else if entry.is_file() && entry.extension().is_some_and(|extension| extension == "ro") {
                found.insert(entry);
            }
        }
    }
    if found.is_empty() {
        return Err(Error::Empty(path.to_owned()));
    }
    Ok(found.into_iter().collect())
}

/// The directory that all files share: imports may be relative to it.
fn base_of(root: &Path, schema: &Path) -> PathBuf {
    if schema.is_dir() {
        return normalize(schema);
    }
    let base = normalize(&root.join("schema"));
    if normalize(schema).starts_with(&base) { base } else { PathBuf::new() }
}

fn display_name(root: &Path, path: &Path) -> String {
    let root = normalize(root);
    let relative = path.strip_prefix(&root).unwrap_or(path);
    let parts: Vec<_> = relative.components().map(|part| part.as_os_str().to_string_lossy()).collect();
    if relative.is_absolute() { relative.to_string_lossy().into_owned() } else { parts.join("/") }
}

/// Removes `.` and resolves `..` without asking the file system, so that two spellings of a path compare equal.
fn normalize(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if normal.file_name().is_some() => {
                normal.pop();
            }
            _ => normal.push(part),
        }
    }
    normal
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project(files: &[(&str, &str)]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = directory.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        directory
    }

    fn names(sources: &Sources) -> Vec<&str> {
        sources.files().iter().map(|file| file.name.as_str()).collect()
    }

    #[test]
    fn files_are_found_recursively_and_sorted() {
        let project =
            project(&[("schema/b.ro", ""), ("schema/a/c.ro", ""), ("schema/.git/d.ro", ""), ("schema/e.txt", "")]);
        let sources = Sources::read(project.path(), &project.path().join("schema")).unwrap();
        assert_eq!(names(&sources), ["schema/a/c.ro", "schema/b.ro"]);
    }

    #[test]
    fn nothing_to_read_is_an_error_that_says_so() {
        let project = project(&[("schema/a.txt", "")]);
        let error = Sources::read(project.path(), &project.path().join("schema")).unwrap_err();
        assert!(error.to_string().starts_with("No .ro files found in "), "{error}");
        let error = Sources::read(project.path(), &project.path().join("nothing")).unwrap_err();
        assert!(error.to_string().starts_with("Schema path not found: "), "{error}");
    }

    #[test]
    fn a_single_file_of_a_project_knows_its_neighbours() {
        let project = project(&[("schema/a.ro", ""), ("schema/b/c.ro", "")]);
        let sources = Sources::read(project.path(), &project.path().join("schema/b/c.ro")).unwrap();
        let background: Vec<_> = sources.files().iter().map(|file| file.background).collect();
        assert_eq!((names(&sources), background), (vec!["schema/a.ro", "schema/b/c.ro"], vec![true, false]));
    }

    #[test]
    fn imports_outside_of_the_schema_are_read() {
        let project = project(&[("schema/a.ro", "import \"../shared/m.ro\""), ("shared/m.ro", "import \"../x.ro\"")]);
        let sources = Sources::read(project.path(), &project.path().join("schema")).unwrap();
        assert_eq!(names(&sources), ["schema/a.ro", "shared/m.ro"]);
        assert_eq!(sources.imported(FileId(0), "../shared/m.ro"), Some(FileId(1)));
        assert_eq!(sources.imported(FileId(1), "../x.ro"), None);
    }

    #[test]
    fn links_in_a_circle_end() {
        let project = project(&[("schema/a.ro", "")]);
        std::os::unix::fs::symlink(project.path().join("schema"), project.path().join("schema/loop")).unwrap();
        assert_eq!(find(&project.path().join("schema")).unwrap().len(), 1);
    }

    #[test]
    fn positions_count_characters_from_one() {
        let sources = Sources::from_texts([("a.ro", "ab\nä€x\n")]);
        let file = &sources.files()[0];
        assert_eq!(
            [0, 2, 3, 8, 9, 10, 99].map(|offset| file.position(offset)),
            [(1, 1), (1, 3), (2, 1), (2, 3), (2, 4), (3, 1), (3, 1)]
        );
    }

    #[test]
    fn bytes_that_are_not_utf8_are_remembered() {
        let file = File::new(PathBuf::from("a.ro"), "a.ro".to_owned(), b"model A {} \xff");
        assert_eq!((file.invalid_utf8, &*file.text), (Some(11), "model A {} \u{fffd}"));
    }
}

//! Our own source as tokens: which rooms and packages a file names, and which files it includes.

use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// What one source file names.
#[derive(Debug, Default)]
pub struct Source {
    /// The file, relative to the project.
    pub path: PathBuf,
    /// The room it belongs to.
    pub room: String,
    /// Rooms reached through `crate::`, `super::` or, from the binary, `rowcast::`.
    pub rooms: Vec<String>,
    /// First segments of all other paths.
    pub heads: Vec<String>,
    /// Files it includes as text, relative to the project.
    pub included: Vec<PathBuf>,
}

/// Every source file of the crate but `lib.rs`, which is the map itself.
pub fn sources() -> Vec<Source> {
    files_below("src", "rs")
        .into_iter()
        .filter(|path| path != Path::new("src/lib.rs"))
        .map(read)
        .collect()
}

/// All files with an extension below a folder of the project, relative to the project.
pub fn files_below(folder: &str, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::from(folder)];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(project().join(&folder)) else {
            continue;
        };
        for entry in entries {
            let entry = entry.unwrap();
            let path = folder.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The text of a file of the project.
pub fn text(path: impl AsRef<Path>) -> String {
    let path = project().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"))
}

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: PathBuf) -> Source {
    let tokens = text(&path)
        .parse()
        .unwrap_or_else(|error| panic!("{path:?}: {error}"));
    let (room, depth) = module_of(&path);
    let mut source = Source {
        path,
        room,
        ..Source::default()
    };
    source.walk(tokens, depth);
    source
}

/// The room of a file and how many modules deep it is: 1 for the room's own module.
fn module_of(path: &Path) -> (String, usize) {
    let mut parts: Vec<String> = path
        .with_extension("")
        .components()
        .skip(1)
        .map(|part| part.as_os_str().to_str().unwrap().to_owned())
        .collect();
    if parts.last().is_some_and(|last| last == "mod") {
        parts.pop();
    }
    (parts[0].clone(), parts.len())
}

impl Source {
    /// Reads tokens that stand `depth` modules deep.
    fn walk(&mut self, tokens: TokenStream, depth: usize) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        for at in 0..tokens.len() {
            match &tokens[at] {
                TokenTree::Group(group) => {
                    let inside = depth + usize::from(opens_module(&tokens, at));
                    self.walk(group.stream(), inside);
                }
                TokenTree::Ident(ident) => self.look(&ident.to_string(), &tokens, at, depth),
                _ => {}
            }
        }
    }

    fn look(&mut self, word: &str, tokens: &[TokenTree], at: usize, depth: usize) {
        if word == "include_str" || word == "include_bytes" {
            self.include(&tokens[at..]);
        }
        if is_separator(tokens, at.wrapping_sub(2)) || !is_separator(tokens, at + 1) {
            return;
        }
        let (steps, next) = match word {
            "crate" => (depth, at + 3),
            "rowcast" if self.room == "main" => (depth, at + 3),
            "super" => climb(tokens, at),
            // In a group of a `use`, the first segment may stand before the group: not ours to know.
            _ => {
                self.heads.push(word.to_owned());
                return;
            }
        };
        if steps >= depth {
            self.rooms.extend(first_words(tokens.get(next)));
        }
    }

    fn include(&mut self, tokens: &[TokenTree]) {
        let Some(TokenTree::Group(group)) = tokens.get(2) else {
            return;
        };
        let argument = group.stream().to_string();
        let Some(name) = argument
            .strip_prefix('"')
            .and_then(|rest| rest.strip_suffix('"'))
        else {
            return;
        };
        let mut path = self.path.parent().unwrap().to_owned();
        for part in name.split('/') {
            match part {
                ".." => assert!(path.pop(), "{name} leaves the project"),
                part => path.push(part),
            }
        }
        self.included.push(path);
    }
}

/// Whether the group at `at` is the body of `mod name { … }`.
fn opens_module(tokens: &[TokenTree], at: usize) -> bool {
    at >= 2 && matches!(&tokens[at - 2], TokenTree::Ident(word) if word == "mod")
}

/// Whether `::` stands at `at`.
fn is_separator(tokens: &[TokenTree], at: usize) -> bool {
    let is_colon =
        |at| matches!(tokens.get(at), Some(TokenTree::Punct(mark)) if mark.as_char() == ':');
    is_colon(at) && is_colon(at.wrapping_add(1))
}

/// How many `super::` stand from `at` on, and where the path goes on.
fn climb(tokens: &[TokenTree], mut at: usize) -> (usize, usize) {
    let mut steps = 0;
    while matches!(&tokens.get(at), Some(TokenTree::Ident(word)) if *word == "super") {
        steps += 1;
        at += 3;
    }
    (steps, at)
}

/// The word at a place in a path, or the first words of each path in braces there.
fn first_words(place: Option<&TokenTree>) -> Vec<String> {
    match place {
        Some(TokenTree::Ident(word)) => vec![word.to_string()],
        Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
            let tokens: Vec<TokenTree> = group.stream().into_iter().collect();
            tokens
                .split(|token| matches!(token, TokenTree::Punct(mark) if mark.as_char() == ','))
                .filter_map(|path| path.first().map(ToString::to_string))
                .collect()
        }
        _ => Vec::new(),
    }
}

#[test]
fn arrows_are_found_however_they_are_written() {
    for (path, text, expected) in [
        ("src/hub/mod.rs", "use crate::event::Action;", "event"),
        (
            "src/hub/mod.rs",
            "use crate::{event::{Action, Gap}, topic};",
            "event topic",
        ),
        (
            "src/hub/mod.rs",
            "fn f() { let _ = crate::frame::X; }",
            "frame",
        ),
        ("src/hub/mod.rs", "info!(x = crate::db::Y);", "db"),
        ("src/hub/mod.rs", "use super::http;", "http"),
        ("src/hub/deep.rs", "use super::handle::X;", ""),
        ("src/hub/deep.rs", "use super::super::http::X;", "http"),
        (
            "src/hub/deep.rs",
            "mod tests { use super::super::handle; }",
            "",
        ),
        (
            "src/hub/deep.rs",
            "mod tests { use super::super::super::http; }",
            "http",
        ),
        (
            "src/event.rs",
            "// crate::hub\n/* crate::hub */ const T: &str = \"crate::hub\";",
            "",
        ),
        ("src/main.rs", "fn main() { rowcast::cli::run() }", "cli"),
    ] {
        let (room, depth) = module_of(Path::new(path));
        let mut source = Source {
            path: path.into(),
            room,
            ..Source::default()
        };
        source.walk(text.parse().unwrap(), depth);
        assert_eq!(source.rooms.join(" "), expected, "{text} in {path}");
    }
}

//! The map in ARCHITECTURE.md, held against the source.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::support::source::{Source, files_below, sources, text};

/// The folder of statements that belongs to a command rather than to a room of the same name.
const DEMO_SQL: (&str, &str) = ("demo", "cli");

#[derive(Debug, Default)]
struct Map {
    /// Room → rooms it may import.
    imports: BTreeMap<String, BTreeSet<String>>,
    /// Rooms that everyone may import.
    open: BTreeSet<String>,
    /// Package, as written in code → rooms that may name it.
    homes: BTreeMap<String, BTreeSet<String>>,
}

impl Map {
    fn read() -> Self {
        let document = text("ARCHITECTURE.md");
        let mut map = Self::default();
        let rows = document
            .lines()
            .skip_while(|line| !line.starts_with("| Room | May import |"))
            .skip(2)
            .take_while(|line| line.starts_with('|'));
        for row in rows {
            map.add(row);
        }
        assert!(map.imports.len() > 10, "the table was not found: {map:?}");
        map
    }

    fn add(&mut self, row: &str) {
        let cells: Vec<&str> = row.split('|').collect();
        let [_, rooms, imports, packages, _] = cells[..] else {
            panic!("a row has three cells: {row}");
        };
        let allowed = if imports.contains("all above") {
            self.imports.keys().cloned().collect()
        } else {
            words(imports)
        };
        for room in words(rooms) {
            for package in words(packages) {
                let home = self.homes.entry(package.replace('-', "_")).or_default();
                home.insert(room.clone());
            }
            if imports.contains("open to all") {
                self.open.insert(room.clone());
            }
            self.imports.insert(room, allowed.clone());
        }
    }

    fn allows(&self, from: &str, to: &str) -> bool {
        from == to || self.open.contains(to) || self.imports[from].contains(to)
    }
}

/// What stands in backticks.
fn words(cell: &str) -> BTreeSet<String> {
    cell.split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

#[test]
fn rooms_import_only_what_the_map_allows() {
    let map = Map::read();
    let sources = sources();
    let rooms: BTreeSet<&String> = sources.iter().map(|source| &source.room).collect();
    let unknown: Vec<_> = rooms
        .iter()
        .filter(|room| !map.imports.contains_key(**room))
        .collect();
    assert!(
        unknown.is_empty(),
        "no row in ARCHITECTURE.md for {unknown:?}"
    );
    let bent: Vec<String> = sources
        .iter()
        .flat_map(|source| {
            let to = source.rooms.iter().filter(|to| rooms.contains(to));
            to.map(move |to| (source, to))
        })
        .filter(|(source, to)| !map.allows(&source.room, to))
        .map(|(source, to)| format!("{}: {} → {to}", source.path.display(), source.room))
        .collect();
    assert!(
        bent.is_empty(),
        "arrows that are not in the table of ARCHITECTURE.md; a new one starts there, with a \
         sentence why:\n{}",
        bent.join("\n")
    );
}

#[test]
fn packages_stay_at_home() {
    let homes = Map::read().homes;
    let astray: Vec<String> = sources()
        .iter()
        .flat_map(|source| packages_astray(source, &homes))
        .collect();
    assert!(
        astray.is_empty(),
        "packages named outside their room (see ARCHITECTURE.md); hand out what is needed from \
         there:\n{}",
        astray.join("\n")
    );
}

fn packages_astray(source: &Source, homes: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let heads: BTreeSet<&String> = source.heads.iter().collect();
    heads
        .into_iter()
        .filter(|head| {
            homes
                .get(*head)
                .is_some_and(|rooms| !rooms.contains(&source.room))
        })
        .map(|head| {
            format!(
                "{}: {head}, at home in {:?}",
                source.path.display(),
                homes[head]
            )
        })
        .collect()
}

#[test]
fn every_statement_has_one_caller_in_its_own_room() {
    let mut callers: BTreeMap<PathBuf, Vec<Source>> = BTreeMap::new();
    for source in sources() {
        for path in source.included.clone() {
            let source = Source {
                path: source.path.clone(),
                room: source.room.clone(),
                ..Source::default()
            };
            callers.entry(path).or_default().push(source);
        }
    }
    for path in files_below("sql", "sql") {
        let found = callers.remove(&path).unwrap_or_default();
        let [caller] = &found[..] else {
            panic!(
                "{path:?} is included {} times, not once: {found:?}",
                found.len()
            );
        };
        assert_eq!(
            room_of_sql(&path),
            caller.room,
            "{path:?} belongs to another room than its caller"
        );
        assert!(
            text(&path).starts_with("--"),
            "{path:?} does not introduce itself"
        );
    }
}

fn room_of_sql(path: &Path) -> String {
    let folder = path.components().nth(1).unwrap().as_os_str();
    let folder = folder.to_str().unwrap();
    if folder == DEMO_SQL.0 {
        DEMO_SQL.1
    } else {
        folder
    }
    .to_owned()
}

#[test]
fn migrations_are_numbered_without_holes() {
    let mut numbers: Vec<u32> = files_below("migrations", "sql")
        .iter()
        .map(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap();
            number_of(name).unwrap_or_else(|| panic!("{path:?} is not named V<number>__<what>.sql"))
        })
        .collect();
    numbers.sort_unstable();
    let expected: Vec<u32> = (1..).take(numbers.len()).collect();
    assert_eq!(numbers, expected);
}

fn number_of(name: &str) -> Option<u32> {
    let (number, what) = name.strip_prefix('V')?.split_once("__")?;
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let is_word = !what.is_empty() && what.chars().all(is_plain);
    number.parse().ok().filter(|_| is_word)
}

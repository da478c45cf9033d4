//! Which workload came out how on which host: the table that people keep of a lab.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::id::{HostId, RunName, WorkloadId};
use crate::run::RunState;
use crate::verdict::Verdict;

/// A column: a host, or all hosts with one value of a label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// The label that a job is pinned by to get here, such as `host:r1` or `rack:7`.
    pub label: String,
    /// What people read above it.
    pub title: String,
    /// The hosts that it stands for. Nobody, if what is listed has not been seen yet.
    pub hosts: BTreeSet<HostId>,
}

/// The latest that is known of a workload on a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    /// What ran.
    pub workload: WorkloadId,
    /// Where.
    pub host: HostId,
    /// Which run.
    pub run: RunName,
    /// Where the run stands.
    pub state: RunState,
    /// How it came out.
    pub verdict: Option<Verdict>,
    /// When the run began: the latest one is shown.
    pub begun: Timestamp,
    /// When it entered its state.
    pub at: Timestamp,
}

/// A workload, and how it came out in each column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Which workload.
    pub workload: WorkloadId,
    /// Its name.
    pub name: String,
    /// One for each column.
    pub cells: Vec<Option<Cell>>,
}

/// The table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Matrix {
    /// From left to right.
    pub columns: Vec<Column>,
    /// From top to bottom.
    pub rows: Vec<Row>,
}

impl Matrix {
    /// Puts the table together. Where a column stands for several hosts, the latest run on any of them counts.
    #[must_use]
    pub fn new(workloads: Vec<(WorkloadId, String)>, columns: Vec<Column>, results: Vec<Cell>) -> Self {
        let mut places: BTreeMap<HostId, Vec<usize>> = BTreeMap::new();
        for (place, column) in columns.iter().enumerate() {
            for host in &column.hosts {
                places.entry(*host).or_default().push(place);
            }
        }
        let empty = vec![None; columns.len()];
        let rows = workloads.into_iter().map(|(workload, name)| Row { workload, name, cells: empty.clone() });
        let mut rows: Vec<Row> = rows.collect();
        let lines: BTreeMap<WorkloadId, usize> =
            rows.iter().enumerate().map(|(line, row)| (row.workload, line)).collect();
        for cell in results {
            let Some(row) = lines.get(&cell.workload).map(|line| &mut rows[*line]) else { continue };
            for place in places.get(&cell.host).into_iter().flatten() {
                let known = &mut row.cells[*place];
                if known.as_ref().is_none_or(|known| (known.begun, known.run) < (cell.begun, cell.run)) {
                    *known = Some(cell.clone());
                }
            }
        }
        Self { columns, rows }
    }

    /// The table as Markdown (GitHub's tables), with columns that are aligned where each character takes one place and
    /// each sign two. What comes from outside is text in it, and nothing else.
    #[must_use]
    pub fn to_markdown(&self) -> String {
        let head = std::iter::once("workload".to_owned());
        let head: Vec<String> =
            head.chain(self.columns.iter().map(|column| escaped(&column.title))).collect();
        let lines = self.rows.iter().map(|row| {
            let cells = row.cells.iter().map(|cell| cell.as_ref().map(shown).unwrap_or_default());
            std::iter::once(escaped(&row.name)).chain(cells).collect::<Vec<String>>()
        });
        let lines: Vec<Vec<String>> = lines.collect();
        let widths: Vec<usize> = (0..head.len())
            .map(|at| lines.iter().chain([&head]).map(|line| width(&line[at])).max().unwrap_or(0).max(3))
            .collect();
        let written = |line: &[String]| {
            let cells = line.iter().zip(&widths).map(|(cell, room)| {
                let space = " ".repeat(room - width(cell));
                format!(" {cell}{space} |")
            });
            format!("|{}\n", cells.collect::<String>())
        };
        let rules: Vec<String> = widths.iter().map(|room| format!(" {} |", "-".repeat(*room))).collect();
        let rule = rules.concat();
        let body: String = lines.iter().map(|line| written(line)).collect();
        format!("{}|{rule}\n{body}", written(&head))
    }
}

/// The state's sign, and the verdict, or the state where there is none.
fn shown(cell: &Cell) -> String {
    let word = match cell.verdict.filter(|_| cell.state.is_final()) {
        Some(verdict) => verdict.as_str(),
        None => cell.state.as_str(),
    };
    format!("{} {word}", cell.state.sign())
}

/// Text that stays text in a cell of a table: everything that Markdown or HTML might take for more has a backslash before
/// it (`CommonMark` §2.4), and nothing ends the line.
fn escaped(text: &str) -> String {
    let mut safe = String::new();
    for character in text.trim().chars() {
        if character.is_control() || matches!(character, '\u{2028}' | '\u{2029}') {
            safe.push(' ');
            continue;
        }
        if "\\`*_{}[]<>()#+!|~&@:".contains(character) {
            safe.push('\\');
        }
        safe.push(character);
    }
    safe
}

/// How much room a text takes.
fn width(text: &str) -> usize {
    let sign = |character: char| matches!(character, '\u{1f000}'..|'⚡'| '❌' | '⏳' | '✋');
    text.chars().map(|character| if sign(character) { 2 } else { 1 }).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    fn workload(number: u8) -> WorkloadId {
        WorkloadId::new(Timestamp::UNIX_EPOCH, [number; 10])
    }

    fn host(number: u8) -> HostId {
        HostId::new(Timestamp::UNIX_EPOCH, [number; 10])
    }

    fn cell(of: u8, on: u8, begun: i64, state: RunState, verdict: Option<Verdict>) -> Cell {
        let random = [of, on, 0, 0, 0, 0, 0, 0, 0, 1];
        let run = crate::id::RunId::new(at(begun), random).public_name();
        Cell {
            workload: workload(of),
            host: host(on),
            run,
            state,
            verdict,
            begun: at(begun),
            at: at(begun + 1),
        }
    }

    fn column(label: &str, hosts: &[u8]) -> Column {
        Column {
            label: label.to_owned(),
            title: label.to_owned(),
            hosts: hosts.iter().copied().map(host).collect(),
        }
    }

    #[test]
    fn the_table_can_be_read_as_it_is() {
        let workloads = vec![(workload(1), "ubuntu|25.04.efi".to_owned()), (workload(2), "b.efi".to_owned())];
        let columns = vec![column("r1", &[1]), column("r2", &[2]), column("r3", &[])];
        let results = vec![
            cell(1, 1, 10, RunState::Finished, Some(Verdict::Passed)),
            cell(1, 2, 10, RunState::Failed, Some(Verdict::Errored)),
            cell(2, 1, 10, RunState::Downloading, None),
        ];
        let shown = Matrix::new(workloads, columns, results).to_markdown();
        assert_eq!(
            shown,
            "\
            | workload          | r1             | r2         | r3  |\n\
            | ----------------- | -------------- | ---------- | --- |\n\
            | ubuntu\\|25.04.efi | 🏁 passed      | ❌ errored |     |\n\
            | b.efi             | 📥 downloading |            |     |\n"
        );
    }

    #[test]
    fn a_verdict_is_shown_only_when_the_run_is_over() {
        assert_eq!(shown(&cell(1, 1, 1, RunState::Reported, Some(Verdict::Passed))), "📝 reported");
        assert_eq!(shown(&cell(1, 1, 1, RunState::Finished, Some(Verdict::Failed))), "🏁 failed");
    }

    fn results() -> impl Strategy<Value = Vec<Cell>> {
        prop::collection::vec(
            (0..4_u8, 0..4_u8, 0..20_i64)
                .prop_map(|(of, on, begun)| cell(of, on, begun, RunState::Finished, Some(Verdict::Passed))),
            0..30,
        )
    }

    proptest! {
        #[test]
        fn each_place_has_the_latest_run_of_its_workload_on_its_hosts(results in results(), split in 0..4_u8) {
            let workloads: Vec<_> = (0..3).map(|number| (workload(number), number.to_string())).collect();
            let hosts: Vec<u8> = (0..3).collect();
            let (left, right) = hosts.split_at(usize::from(split.min(3)));
            let columns = vec![column("left", left), column("right", right)];
            let matrix = Matrix::new(workloads.clone(), columns.clone(), results.clone());
            prop_assert_eq!(matrix.rows.len(), workloads.len());
            for row in &matrix.rows {
                for (column, found) in columns.iter().zip(&row.cells) {
                    let mut fit: Vec<&Cell> = results
                        .iter()
                        .filter(|cell| cell.workload == row.workload && column.hosts.contains(&cell.host))
                        .collect();
                    fit.sort_by_key(|cell| (cell.begun, cell.run));
                    prop_assert_eq!(found.as_ref(), fit.last().copied());
                }
            }
        }

        #[test]
        fn whatever_a_name_is_the_table_keeps_its_form(names in prop::collection::vec("\\PC*|[|\\n\\\\<&]{0,6}", 1..4)) {
            let workloads = names.iter().enumerate().map(|(number, name)| {
                (workload(u8::try_from(number).expect("a few")), name.clone())
            });
            let columns = names.iter().map(|name| column(name, &[])).collect();
            let table = Matrix::new(workloads.collect(), columns, Vec::new()).to_markdown();
            let bars = |line: &str| {
                let mut before = None;
                let mut count = 0;
                for character in line.chars() {
                    let is_escaped = before == Some('\\');
                    count += usize::from(character == '|' && !is_escaped);
                    before = if character == '\\' && is_escaped { None } else { Some(character) };
                }
                count
            };
            prop_assert_eq!(table.lines().count(), names.len() + 2);
            prop_assert!(table.lines().all(|line| bars(line) == names.len() + 2), "{}", table);
            let rooms: Vec<usize> = table.lines().map(width).collect();
            prop_assert!(rooms.windows(2).all(|pair| pair[0] == pair[1]), "{}", table);
        }
    }
}

//! What a snapshot and the changes after it come to: the table, as its subscriber may see it.

use std::collections::HashMap;

use serde_json::Value;

use super::clients::Heard;
use super::wanted::Wanted;

#[derive(Debug, Clone, Default)]
pub struct View {
    records: HashMap<String, Value>,
    /// Records of the snapshot so far.
    count: usize,
    stage: Stage,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
enum Stage {
    /// The marker has not come.
    #[default]
    Coming,
    Ready,
    /// The client was told to load afresh.
    Lost,
}

impl View {
    /// Takes in what was heard; an error if it makes no sense.
    pub fn take(&mut self, heard: &Heard) -> Result<(), String> {
        let id = heard.id().to_owned();
        match (heard.action.as_str(), &self.stage) {
            ("resync", _) => self.stage = Stage::Lost,
            (_, Stage::Lost) => {}
            ("snapshot", Stage::Coming) => {
                self.count += 1;
                if self.records.insert(id, heard.record.clone()).is_some() {
                    return Err(format!("twice in a snapshot: {heard:?}"));
                }
            }
            ("ready", Stage::Coming) if heard.count == Some(self.count) => {
                self.stage = Stage::Ready;
            }
            ("create" | "update", Stage::Ready) => {
                self.records.insert(id, heard.record.clone());
            }
            ("delete" | "leave", Stage::Ready) => {
                self.records.remove(&id);
            }
            (_, stage) => return Err(format!("{heard:?} while a snapshot is {stage:?}")),
        }
        Ok(())
    }

    /// What the view lacks to be the table; without the option `leave` it may hold more than that.
    pub fn lacks(&self, wanted: &Wanted, table: &HashMap<String, Value>) -> Option<String> {
        let stage = &self.stage;
        match stage {
            Stage::Lost => return None,
            // Of what one may never see there is not even a marker.
            Stage::Coming if table.is_empty() && self.records.is_empty() => return None,
            Stage::Coming => return Some(format!("{}: a snapshot without an end", wanted.name)),
            Stage::Ready => {}
        }
        let differs = |(id, record): &(&String, &Value)| self.records.get(*id) != Some(record);
        let lacking = table.iter().find(differs);
        let excess = self
            .records
            .keys()
            .find(|id| wanted.leave && !table.contains_key(*id));
        match (lacking, excess) {
            (None, None) => None,
            (lacking, excess) => Some(format!(
                "{}: the view is not the table: it lacks {lacking:?}, where it has {:?}; it has too much {excess:?}",
                wanted.name,
                lacking.and_then(|(id, _)| self.records.get(id))
            )),
        }
    }
}

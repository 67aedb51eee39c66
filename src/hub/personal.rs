//! Records that enrich hooks have a say in: each receiver is handed what it needs to write its own, in
//! the task of its own stream. The hub's share of it is one small allocation per receiver.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};

use super::encoded::{Encoded, Shown};
use super::fragments::{is_wanted, template_of};
use super::groups::Group;
use super::registry::Subscriber;
use crate::auth::Principal;
use crate::catalog::Collection;
use crate::event::{Action, Position};
use crate::frame::{Broken, Frame, Personal};
use crate::hooks::{Chain, Enrich, EnrichHook, Enrichment, HookRecord};
use crate::record::{Picker, Visibility, entered, pick_change, snapshot_row, with_record};
use crate::telemetry::Metrics;
use crate::templates::Templates;
use crate::topic::Options;

/// The member with related records.
const EXPAND: &str = "expand";

/// Where enrich hooks are bound.
pub(super) struct Enrichers {
    chain: Chain<EnrichHook>,
    metrics: Arc<Metrics>,
}

impl Enrichers {
    pub(super) fn new(chain: Chain<EnrichHook>, metrics: Metrics) -> Self {
        Self {
            chain,
            metrics: Arc::new(metrics),
        }
    }

    /// The hooks as of now; `None` if there are none, which is all that is asked then.
    pub(super) fn enriching(&self) -> Option<Enriching> {
        Some(Enriching {
            hooks: self.chain.enrichment()?,
            metrics: Arc::clone(&self.metrics),
        })
    }
}

/// The hooks of one moment.
#[derive(Clone)]
pub(super) struct Enriching {
    hooks: Enrichment,
    metrics: Arc<Metrics>,
}

/// As what a record is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Telling {
    Change,
    /// It is new to its receiver.
    Entering,
    /// It was there before.
    Snapshot,
}

/// What the members of one group write their own frames from.
pub(super) struct Drafts<'d, 'e> {
    enriching: &'d Enriching,
    encoded: &'d Encoded<'e>,
    group: &'d Group,
    text: &'d str,
    templates: Option<&'d Templates>,
    /// By how it is told, what is shown, and whether that is HTML.
    made: RefCell<HashMap<(Telling, Shown, bool), Arc<Draft>>>,
}

impl<'d, 'e> Drafts<'d, 'e> {
    /// `None` unless hooks are asked about what the group is shown: about the record itself, or
    /// perhaps about those that it is expanded by.
    pub(super) fn new(
        enriching: &'d Enriching,
        encoded: &'d Encoded<'e>,
        group: &'d Group,
        text: &'d str,
    ) -> Option<Self> {
        let name = &encoded.event.collection.name;
        let concerned = group.expand.is_some() || enriching.hooks.concerns(name);
        concerned.then(|| Self {
            enriching,
            encoded,
            group,
            text,
            templates: None,
            made: RefCell::default(),
        })
    }

    /// The same with templates for those who want HTML.
    pub(super) fn in_html(self, templates: &'d Templates) -> Self {
        let templates = Some(templates);
        Self { templates, ..self }
    }

    /// The frame of one receiver.
    pub(super) fn frame(&self, telling: Telling, shown: Shown, receiver: &Subscriber) -> Frame {
        let mut made = self.made.borrow_mut();
        let html = is_wanted(self.group, receiver);
        let draft = made
            .entry((telling, shown, html))
            .or_insert_with(|| Arc::new(self.draft(telling, shown, html)));
        Frame::personal(Arc::new(Own {
            draft: Arc::clone(draft),
            client_id: Arc::clone(&receiver.id.0),
            principal: receiver.principal().clone(),
        }))
    }

    fn draft(&self, telling: Telling, shown: Shown, html: bool) -> Draft {
        let event = self.encoded.event;
        let action = match telling {
            Telling::Change => event.action,
            Telling::Entering | Telling::Snapshot => Action::Create,
        };
        let template = self.templates.zip(template_of(&event.collection, action));
        let template = template.filter(|_| html);
        let position = event.position.as_ref().map(Position::to_string);
        let full = Shown {
            visibility: Visibility::Full,
            expansion: None,
        };
        let full = (shown.visibility != full.visibility).then(|| self.encoded.data(full, None));
        Draft {
            enriching: self.enriching.clone(),
            collection: Arc::clone(&event.collection),
            action: event.action,
            telling,
            position: position.filter(|_| telling != Telling::Snapshot),
            text: self.text.into(),
            options: self.group.options.clone(),
            picker: self.group.picker.clone(),
            shown: self.encoded.data(shown, None).to_vec(),
            full: full.map(|full| full.to_vec()),
            is_expanded: shown.expansion.is_some(),
            template: template.map(|(templates, name)| (templates.clone(), Arc::clone(name))),
        }
    }
}

/// One record as some receivers may see it, before hooks and `fields`.
struct Draft {
    enriching: Enriching,
    collection: Arc<Collection>,
    action: Action,
    telling: Telling,
    position: Option<String>,
    text: Box<str>,
    options: Options,
    picker: Option<Picker>,
    shown: Vec<u8>,
    /// The record with all that is hidden from them.
    full: Option<Vec<u8>>,
    is_expanded: bool,
    /// What makes HTML of it, if it is to be HTML.
    template: Option<(Templates, Arc<str>)>,
}

/// One receiver's own frame.
struct Own {
    draft: Arc<Draft>,
    client_id: Arc<str>,
    principal: Principal,
}

impl fmt::Debug for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Rows are never logged.
        f.debug_struct("Own")
            .field("client_id", &self.client_id)
            .finish_non_exhaustive()
    }
}

impl Personal for Own {
    fn write(&self) -> Result<Option<Frame>, Broken> {
        let Draft {
            collection,
            action,
            telling,
            position,
            text,
            picker,
            shown,
            full,
            template,
            ..
        } = &*self.draft;
        let full = full.as_deref().map(record_in);
        let record = HookRecord::parse(record_in(shown), full).expect("a record is an object");
        let Some(record) = self.enriched(&collection.name, record, false)? else {
            return Ok(None);
        };
        let mut data = with_record(&record.to_json(), *action);
        if let Some(picker) = picker {
            data = pick_change(&data, *action, picker);
        }
        let data = match telling {
            Telling::Change => data,
            Telling::Entering => entered(&data),
            Telling::Snapshot => snapshot_row(&data),
        };
        let data = match template {
            None => data,
            Some((templates, name)) => match templates.render_as_json(name, &data) {
                Some(html) => html,
                None => return Ok(None),
            },
        };
        let frame = Frame::event(position.as_deref(), text, &data);
        if frame.is_none() {
            self.draft.enriching.metrics.unwritable_frames.inc();
        }
        Ok(frame)
    }
}

impl Own {
    /// A record with what the hooks make of it, those that it is expanded by first; `None` if it is
    /// not to be told.
    fn enriched(
        &self,
        collection: &str,
        mut record: HookRecord,
        is_expanded: bool,
    ) -> Result<Option<HookRecord>, Broken> {
        if self.draft.is_expanded
            && let Some(members) = record.raw(EXPAND).and_then(members_of)
        {
            let Some(members) = self.all_enriched(members)? else {
                return Ok(None);
            };
            record.set(EXPAND, members).expect("JSON is JSON");
        }
        let Enriching { hooks, metrics } = &self.draft.enriching;
        let mut enrich = Enrich {
            client_id: &self.client_id,
            principal: &self.principal,
            subscription: &self.draft.text,
            options: &self.draft.options,
            collection,
            is_expanded,
            record,
        };
        let told = hooks.run(&mut enrich, metrics).map_err(|_| Broken)?;
        Ok(told.map(|()| enrich.record))
    }

    fn all_enriched(
        &self,
        mut members: BTreeMap<String, Box<RawValue>>,
    ) -> Result<Option<BTreeMap<String, Box<RawValue>>>, Broken> {
        for member in members.values_mut() {
            let Some(enriched) = self.related(member)? else {
                return Ok(None);
            };
            *member = enriched;
        }
        Ok(Some(members))
    }

    /// One related record, or several.
    fn related(&self, json: &RawValue) -> Result<Option<Box<RawValue>>, Broken> {
        if let Ok(records) = serde_json::from_str::<Vec<&RawValue>>(json.get()) {
            let mut several = Vec::with_capacity(records.len());
            for record in records {
                let Some(record) = self.related(record)? else {
                    return Ok(None);
                };
                several.push(record);
            }
            return Ok(Some(to_raw_value(&several).expect("JSON is JSON")));
        }
        let Ok(record) = HookRecord::parse(json.get(), None) else {
            return Ok(Some(json.to_owned()));
        };
        let collection = record.text("collectionName").unwrap_or_default();
        let record = self.enriched(&collection, record, true)?;
        Ok(
            record
                .map(|record| RawValue::from_string(record.to_json()).expect("an object is JSON")),
        )
    }
}

fn members_of(expand: &str) -> Option<BTreeMap<String, Box<RawValue>>> {
    serde_json::from_str(expand).ok()
}

/// The record in the data of a change.
fn record_in(data: &[u8]) -> &str {
    #[derive(Deserialize)]
    struct Envelope<'e> {
        #[serde(borrow)]
        record: &'e RawValue,
    }
    let envelope: Envelope<'_> =
        serde_json::from_slice(data).expect("the data of a change, as it was encoded here");
    envelope.record.get()
}

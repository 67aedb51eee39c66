//! Why a subscription would never fire.

use crate::record::FieldsError;
use crate::rules::RuleError;
use crate::topic::{ExpandError, Guard, OptionsError};

/// A subscription that is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfitting {
    /// Its place in the list that was sent.
    pub at: usize,
    /// What is wrong with it.
    pub why: Unfit,
}

/// What is wrong with a subscription. Says nothing that its author may not know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It looks like a collection's topic, and there is no such collection.
    #[error(
        "There is no collection {name}.{} Topics of your own are plain words, without / and ?.",
        did_you_mean(.nearest)
    )]
    UnknownCollection {
        /// The part that should name it.
        name: String,
        /// The collection that was probably meant.
        nearest: Option<String>,
    },
    /// No record has such an id.
    #[error(
        "{topic} names no record. Write COLLECTION/* for all records and COLLECTION/ID for one."
    )]
    RecordId {
        /// The topic.
        topic: String,
    },
    /// Events of this name could not be written.
    #[error("A subscription cannot contain control characters; percent-encode its options.")]
    ControlCharacter,
    /// The topic `*` is not served.
    #[error("The topic * is switched off here. Name the collections.")]
    WildcardOff,
    /// The rule lets nobody like this through.
    #[error(
        "You are not allowed to subscribe to this: the collection's {} rule is locked for you.",
        word(*.guard)
    )]
    Locked {
        /// Which rule.
        guard: Guard,
    },
    /// The policy closes the topic to them.
    #[error("You are not allowed to subscribe to this topic.")]
    ClosedTopic,
    /// The options cannot be read.
    #[error(
        "The options cannot be read: {0}. They are written \
         ?options={{\"query\":{{…}},\"headers\":{{…}}}}, percent-encoded."
    )]
    Options(#[from] OptionsError),
    /// The option `resume` is no good name.
    #[error(
        "The option resume names nothing: write {} to 64 letters, digits, - and _, drawn at random once and kept.",
        .shortest
    )]
    Resume {
        /// How long it must be at least.
        shortest: usize,
    },
    /// The option `filter` cannot be used.
    #[error("The filter cannot be used: {0}")]
    Filter(#[from] RuleError),
    /// The option `fields` cannot be used.
    #[error("The list of fields cannot be used: {0}.")]
    Fields(#[from] FieldsError),
    /// The option `expand` is too long.
    #[error("The option expand cannot be used: {0}.")]
    ExpandList(#[from] ExpandError),
    /// A path of the option `expand` names nothing that could be followed.
    #[error(
        "The path {path} of expand leads to no records that you may see.{} Name relations, and \
         COLLECTION_via_FIELD for those that point here.",
        did_you_mean(.nearest)
    )]
    Expand {
        /// The path, up to the name that leads nowhere.
        path: String,
        /// The relation of the record itself that was probably meant.
        nearest: Option<String>,
    },
}

impl Unfit {
    /// The word for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::UnknownCollection { .. } => "subscription_unknown_collection",
            Self::RecordId { .. } | Self::ControlCharacter | Self::WildcardOff => {
                "subscription_invalid_topic"
            }
            Self::Locked { .. } | Self::ClosedTopic => "subscription_forbidden",
            Self::Resume { .. } => "subscription_invalid_resume",
            Self::Options(_) => "subscription_invalid_options",
            Self::Filter(_) => "subscription_invalid_filter",
            Self::Fields(_) => "subscription_invalid_fields",
            Self::ExpandList(_) | Self::Expand { .. } => "subscription_invalid_expand",
        }
    }
}

fn did_you_mean(nearest: &Option<String>) -> String {
    let name = nearest.as_deref();
    name.map_or_else(String::new, |name| format!(" Did you mean {name}?"))
}

fn word(guard: Guard) -> &'static str {
    match guard {
        Guard::List => "list",
        Guard::View => "view",
    }
}

//! Managing streams: who is connected, a message to one, an end to some. For superusers.

use std::collections::BTreeMap;
use std::net::IpAddr;

use axum::Router;
use axum::extract::{RawQuery, Request, State};
use axum::routing::any;
use http::StatusCode;
use jiff::Timestamp;
use serde::Serialize;
use tokio::time::timeout;

use super::body::pairs_of;
use super::errors::{ApiError, FieldError, Invalid, JsonLine, Violation};
use super::json_form::JsonForm;
use super::not_found;
use super::paths::PathText;
use super::room::Room;
use super::superuser::Superuser;
use crate::auth::{Principal, SUPERUSERS_ID, SUPERUSERS_NAME};
use crate::hub::{DirectMessage, SubscriberInfo, UnfitMessage, Which};

const PER_PAGE: usize = 30;
const PER_PAGE_MAX: usize = 1_000;
const PAGE_MAX: usize = 1_000_000_000;

/// Whose streams are meant.
const WHICH: [&str; 5] = ["guests", "collection", "record", "address", "topic"];
const NO_ADDRESS: &str = "Must be an IPv4 or IPv6 address.";

pub(super) fn routes() -> Router<Room> {
    Router::new()
        .route("/api/realtime/clients", any(not_found).get(list))
        .route(
            "/api/realtime/clients/disconnect",
            any(not_found).post(disconnect_some),
        )
        .route(
            "/api/realtime/clients/{id}",
            any(not_found).get(show).delete(disconnect),
        )
        .route("/api/realtime/clients/{id}/send", any(not_found).post(send))
}

/// A page of the list, as PocketBase writes lists.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    items: Vec<Client>,
    page: usize,
    per_page: usize,
    /// -1 where it was not to be counted.
    total_items: i64,
    total_pages: i64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Client {
    id: String,
    address: IpAddr,
    principal: Option<Named>,
    connected: String,
    subscription_count: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    subscriptions: Option<Vec<String>>,
    waiting: usize,
    delivered: u64,
}

/// A principal that is no guest.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Named {
    collection_id: String,
    collection_name: String,
    id: String,
}

#[derive(Serialize)]
struct Disconnected {
    disconnected: usize,
}

/// `GET /api/realtime/clients`.
async fn list(
    _: Superuser,
    State(room): State<Room>,
    RawQuery(query): RawQuery,
) -> Result<JsonLine<Page>, ApiError> {
    let query = ListQuery::read(query.as_deref().unwrap_or_default())?;
    let skip = (query.page - 1).saturating_mul(query.per_page);
    let hub = &room.neighbours.hub;
    let page = hub.roster(query.which, skip, query.per_page, query.counts);
    let page = in_time(&room, page)
        .await?
        .map_err(|_| ApiError::stopping())?;
    let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    Ok(JsonLine(Page {
        items: page.subscribers.into_iter().map(Client::from).collect(),
        page: query.page,
        per_page: query.per_page,
        total_items: page.total.map_or(-1, count),
        total_pages: page
            .total
            .map_or(-1, |total| count(total.div_ceil(query.per_page))),
    }))
}

/// `GET /api/realtime/clients/{id}`.
async fn show(
    _: Superuser,
    State(room): State<Room>,
    PathText(id): PathText,
) -> Result<JsonLine<Client>, ApiError> {
    let found = in_time(&room, room.neighbours.hub.subscriber(&id)).await?;
    let found = found.map_err(|_| ApiError::stopping())?;
    let client = found.ok_or_else(ApiError::unknown_client)?;
    Ok(JsonLine(client.into()))
}

/// `DELETE /api/realtime/clients/{id}`.
async fn disconnect(
    _: Superuser,
    State(room): State<Room>,
    PathText(id): PathText,
) -> Result<StatusCode, ApiError> {
    let was_there = in_time(&room, room.neighbours.hub.disconnect(&id)).await?;
    match was_there.map_err(|_| ApiError::stopping())? {
        true => {
            tracing::info!(subscriber.id = id, "a superuser ended a stream");
            Ok(StatusCode::NO_CONTENT)
        }
        false => Err(ApiError::unknown_client()),
    }
}

/// `POST /api/realtime/clients/disconnect`.
async fn disconnect_some(
    _: Superuser,
    State(room): State<Room>,
    request: Request,
) -> Result<JsonLine<Disconnected>, ApiError> {
    let mut form = JsonForm::read(&room, request, &WHICH).await?;
    let address = form.member::<IpAddr>("address", NO_ADDRESS);
    let which = Which {
        guests: form.flag("guests"),
        collection: form.text("collection"),
        record: form.text("record"),
        address: address.map(|address| address.to_canonical()),
        topic: form.text("topic"),
    };
    form.end()?;
    if which.is_everybody() {
        return Err(ApiError::unreadable(
            "must say whose streams end: guests, collection, record, address or topic",
        ));
    }
    let ended = in_time(&room, room.neighbours.hub.disconnect_all(which)).await?;
    let disconnected = ended.map_err(|_| ApiError::stopping())?;
    tracing::info!(streams = disconnected, "a superuser ended streams");
    Ok(JsonLine(Disconnected { disconnected }))
}

/// `POST /api/realtime/clients/{id}/send`.
async fn send(
    _: Superuser,
    State(room): State<Room>,
    PathText(id): PathText,
    request: Request,
) -> Result<StatusCode, ApiError> {
    let mut form = JsonForm::read(&room, request, &["topic", "data"]).await?;
    let topic = form.required_text("topic");
    let data = form.raw("data");
    if data.is_none() {
        form.violated("data", Violation::required());
    }
    form.end()?;
    let message = DirectMessage::new(&topic, &data.unwrap_or_default()).map_err(unfit)?;
    let sent = in_time(&room, room.neighbours.hub.send_to(&id, message)).await?;
    sent.map_err(ApiError::of_direct)?;
    Ok(StatusCode::NO_CONTENT)
}

fn unfit(error: UnfitMessage) -> ApiError {
    let field = match error {
        UnfitMessage::BadData => "data",
        UnfitMessage::NoTopic | UnfitMessage::LongTopic | UnfitMessage::BadTopic => "topic",
    };
    let violation = match error {
        UnfitMessage::NoTopic => Violation::required(),
        UnfitMessage::LongTopic => Violation::length_too_long(DirectMessage::TOPIC_BYTES_MAX),
        UnfitMessage::BadTopic | UnfitMessage::BadData => Violation::invalid(error.to_string()),
    };
    ApiError::invalid(Invalid::from([(field, FieldError::Value(violation))]))
}

async fn in_time<T>(room: &Room, answer: impl Future<Output = T>) -> Result<T, ApiError> {
    let answer = timeout(room.options.request_timeout, answer).await;
    answer.map_err(|_| ApiError::overloaded())
}

/// What a request for the list says in its query.
struct ListQuery {
    which: Which,
    page: usize,
    per_page: usize,
    counts: bool,
}

impl ListQuery {
    const NAMES: [&str; 8] = [
        "page",
        "perPage",
        "skipTotal",
        "guests",
        "collection",
        "record",
        "address",
        "topic",
    ];

    fn read(query: &str) -> Result<Self, ApiError> {
        let pairs = pairs_of(query.as_bytes()).ok_or_else(ApiError::bad_request)?;
        let mut given = BTreeMap::new();
        for (name, value) in pairs {
            // One that is misspelt would make the list a longer one than was asked for.
            let Some(known) = Self::NAMES.iter().find(|known| **known == name) else {
                return Err(ApiError::unknown_parameter(&name, &Self::NAMES));
            };
            given.insert(*known, value);
        }
        let mut invalid = Invalid::new();
        let read = Self {
            page: number(&given, "page", 1, PAGE_MAX, &mut invalid),
            per_page: number(&given, "perPage", PER_PAGE, PER_PAGE_MAX, &mut invalid),
            counts: switch(&given, "skipTotal", &mut invalid) != Some(true),
            which: Which {
                guests: switch(&given, "guests", &mut invalid),
                collection: given.remove("collection"),
                record: given.remove("record"),
                address: address(&given, &mut invalid),
                topic: given.remove("topic"),
            },
        };
        match invalid.is_empty() {
            true => Ok(read),
            false => Err(ApiError::invalid(invalid)),
        }
    }
}

type Given = BTreeMap<&'static str, String>;

fn number(
    given: &Given,
    name: &'static str,
    default: usize,
    max: usize,
    invalid: &mut Invalid,
) -> usize {
    let Some(text) = given.get(name) else {
        return default;
    };
    match text.parse() {
        Ok(number) if (1..=max).contains(&number) && !text.starts_with('+') => number,
        _ => {
            let violation = Violation::invalid(format!("Must be a number from 1 to {max}."));
            invalid.insert(name, FieldError::Value(violation));
            default
        }
    }
}

fn switch(given: &Given, name: &'static str, invalid: &mut Invalid) -> Option<bool> {
    match &**given.get(name)? {
        "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => {
            let violation = Violation::invalid("Must be true or false.");
            invalid.insert(name, FieldError::Value(violation));
            None
        }
    }
}

fn address(given: &Given, invalid: &mut Invalid) -> Option<IpAddr> {
    let address: Option<IpAddr> = given.get("address")?.parse().ok();
    if address.is_none() {
        let violation = Violation::invalid(NO_ADDRESS);
        invalid.insert("address", FieldError::Value(violation));
    }
    Some(address?.to_canonical())
}

impl From<SubscriberInfo> for Client {
    fn from(one: SubscriberInfo) -> Self {
        let own = |texts: Vec<std::sync::Arc<str>>| texts.iter().map(ToString::to_string).collect();
        Self {
            id: one.id.to_string(),
            address: one.address,
            principal: Named::of(&one.principal),
            connected: date(one.since),
            subscription_count: one.subscription_count,
            subscriptions: one.subscriptions.map(own),
            waiting: one.waiting,
            delivered: one.delivered,
        }
    }
}

impl Named {
    fn of(principal: &Principal) -> Option<Self> {
        let (collection_id, collection_name, id) = match principal {
            Principal::Guest => return None,
            Principal::Superuser { id } => (SUPERUSERS_ID, SUPERUSERS_NAME, id),
            Principal::Record(one) => (&*one.collection_id, &*one.collection_name, &one.id),
        };
        Some(Self {
            collection_id: collection_id.to_owned(),
            collection_name: collection_name.to_owned(),
            id: id.to_string(),
        })
    }
}

/// A moment as PocketBase writes it.
pub(super) fn date(moment: std::time::SystemTime) -> String {
    let moment = Timestamp::try_from(moment).unwrap_or_default();
    moment.strftime("%Y-%m-%d %H:%M:%S%.3fZ").to_string()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    #[test]
    fn a_query_that_is_misspelt_or_out_of_range_is_refused() {
        for (query, good) in [
            ("", true),
            ("page=2&perPage=1000&skipTotal=1", true),
            ("guests=false&collection=members&record=a%2Fb", true),
            ("address=::1&topic=posts/*", true),
            ("page=0", false),
            ("page=x", false),
            ("page=+1", false),
            ("page=%2B1", false),
            ("perPage=1001", false),
            ("guests=yes", false),
            ("address=localhost", false),
            ("recrod=1", false),
            ("page=%zz", false),
        ] {
            assert_eq!(ListQuery::read(query).is_ok(), good, "{query}");
        }
    }

    #[test]
    fn moments_are_written_as_pocketbase_writes_them() {
        let moment = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_007);
        assert_eq!(date(moment), "2023-11-14 22:13:20.007Z");
    }
}

//! Values as `oracle.sql` knows them: from columns, the clock, the principal.

use super::schema::Kind;

/// A row that is not there has no values.
pub fn guarded(row: &str, value: &str) -> String {
    format!("case when {row}.found then {value} end")
}

/// A column's value as records show it, NULL as what is empty; and its letter.
pub fn value(kind: Kind, list: bool, stored: &str) -> (String, char) {
    if list {
        return (
            format!("to_jsonb(oracle.compact(to_jsonb(coalesce({stored}, '{{}}'))))"),
            'n',
        );
    }
    match kind {
        Kind::Text | Kind::Uuid => (format!("to_jsonb(coalesce({stored}::text, ''))"), 't'),
        Kind::Int4 | Kind::Int8 => (format!("to_jsonb(coalesce({stored}, 0))"), 'n'),
        Kind::Numeric | Kind::Float8 => (format!("oracle.number(coalesce({stored}, 0))"), 'n'),
        Kind::Bool => (format!("to_jsonb(coalesce({stored}, false)::int)"), 'n'),
        Kind::Timestamp => (format!("oracle.date({stored})"), 't'),
        Kind::Date => (
            format!("oracle.date({stored}::timestamp at time zone 'UTC')"),
            't',
        ),
        Kind::Json => (format!("oracle.of_json({stored})"), 'j'),
    }
}

/// A member of `@request.auth` that every auth record has.
pub fn member(name: &str) -> String {
    match name {
        "id" => "to_jsonb(p.id)".to_owned(),
        "collectionId" => "to_jsonb(p.collection_id)".to_owned(),
        "collectionName" => "to_jsonb(p.auth)".to_owned(),
        "email" => "to_jsonb(p.email)".to_owned(),
        "emailVisibility" => "to_jsonb(p.email_visibility::int)".to_owned(),
        _ => "to_jsonb(p.verified::int)".to_owned(),
    }
}

/// A macro's value.
pub fn clock(name: &str, now: &str) -> String {
    let now = format!("timestamp '{now}'");
    let part = |field: &str| format!("to_jsonb(extract({field} from {now})::int)");
    let trunc = |field: &str| format!("date_trunc('{field}', {now})");
    let end = |field: &str| {
        format!(
            "{} + interval '1 {field}' - interval '1 millisecond'",
            trunc(field)
        )
    };
    let date = match name {
        "@now" => now.clone(),
        "@yesterday" => format!("{now} - interval '1 day'"),
        "@tomorrow" => format!("{now} + interval '1 day'"),
        "@todayStart" => trunc("day"),
        "@todayEnd" => end("day"),
        "@monthStart" => trunc("month"),
        "@monthEnd" => end("month"),
        "@yearStart" => trunc("year"),
        "@yearEnd" => end("year"),
        "@weekday" => return part("dow"),
        "@second" => return format!("to_jsonb(trunc(extract(second from {now}))::int)"),
        other => return part(&other[1..]),
    };
    format!("to_jsonb(to_char({date}, 'YYYY-MM-DD HH24:MI:SS.MS') || 'Z')")
}

/// What `strftime` writes.
pub fn moment_text(format: &str, time: &str, shifts: &[&str]) -> String {
    let moment = shifts.iter().fold(
        format!("oracle.moment({time})"),
        |moment, shift| match shift.strip_prefix("start of ") {
            Some(field) => format!("date_trunc('{field}', {moment})"),
            None => format!("({moment} + interval '{shift}')"),
        },
    );
    let written = match format {
        "%Y" => format!("to_char({moment}, 'YYYY')"),
        "%Y-%m-%d" => format!("to_char({moment}, 'YYYY-MM-DD')"),
        "%d.%m. %H:%M" => format!("to_char({moment}, 'DD.MM. HH24:MI')"),
        "%j" => format!("to_char({moment}, 'DDD')"),
        "%w" => format!("extract(dow from {moment})::text"),
        _ => format!("floor(extract(epoch from {moment}))::text"),
    };
    format!("to_jsonb({written})")
}

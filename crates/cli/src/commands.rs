//! The operator's commands, one file each. Data goes to standard output, talk to standard error.

pub(crate) mod account;
pub(crate) mod agent;
pub(crate) mod alarm;
pub(crate) mod deploy;
pub(crate) mod env;
pub(crate) mod events;
pub(crate) mod exec;
pub(crate) mod image;
pub(crate) mod instance;
pub(crate) mod lifecycle;
pub(crate) mod logs;
pub(crate) mod push;
pub(crate) mod registry;
pub(crate) mod scan_db;
pub(crate) mod serve;
pub(crate) mod status;
pub(crate) mod teardown;
pub(crate) mod top;
pub(crate) mod up;
pub(crate) mod version;

/// Prints data to standard output. A reader that went away (`| head`) ends the program quietly.
pub(crate) fn print(text: &str) {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
        std::process::exit(0);
    }
}

/// A moment in UTC, to the second: `2026-11-25T21:30:00Z`.
pub(crate) fn time(millis: i64) -> String {
    let format = time::macros::format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
    let moment = time::OffsetDateTime::from_unix_timestamp(millis.div_euclid(1000));
    moment.ok().and_then(|moment| moment.format(format).ok()).unwrap_or_default()
}

/// A table without lines, for people.
pub(crate) fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = comfy_table::Table::new();
    table.load_preset(comfy_table::presets::NOTHING).set_header(header);
    for row in rows {
        table.add_row(row);
    }
    if let Some(first) = table.column_mut(0) {
        first.set_padding((0, 1));
    }
    table.lines().map(|line| line.trim_end().to_string() + "\n").collect()
}

//! The last word of a demonstration, for people and for programs.

use std::io::Write;

use anyhow::Result;
use serde::Serialize;

use crate::workload::{Delivered, Selection};

/// What a demonstration found. The names of the fields are what programs read.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// From the start of the program.
    pub seconds_total: f64,
    /// Events sent.
    pub written: u64,
    /// Events the store acknowledged.
    pub acknowledged: u64,
    /// Events found when all was read back, each exactly once.
    pub read_back: u64,
    /// What reads by type and tag, and by time, found.
    pub selection: Selection,
    /// What a consumer of a subscription was given while leaders were killed.
    #[serde(flatten)]
    pub consumed: Delivered,
    /// The longest time without an acknowledged append around a kill.
    pub leaderless_seconds_worst: f64,
    /// Leaders killed.
    pub kills: u32,
    /// What a person may type next.
    #[serde(skip)]
    pub by_hand: Vec<String>,
}

impl Report {
    /// For people.
    pub fn print_text(&self) -> Result<()> {
        let mut out = std::io::stdout().lock();
        writeln!(out)?;
        writeln!(out, "  events written            {:>10}", self.written)?;
        writeln!(out, "  acknowledged              {:>10}", self.acknowledged)?;
        writeln!(out, "  read back, exactly once   {:>10}", self.read_back)?;
        for (label, found) in [
            ("found by type and tag", &self.selection.filtered),
            ("found by time", &self.selection.by_time),
        ] {
            let (asked, milliseconds) = (&found.asked, found.seconds * 1000.0);
            writeln!(out, "  {label:<25} {:>10}   {asked}: {milliseconds:.0} ms", found.events)?;
        }
        let consumed = &self.consumed;
        writeln!(out, "  delivered to a consumer   {:>10}", consumed.delivered)?;
        writeln!(out, "  delivered again           {:>10}", consumed.redelivered)?;
        writeln!(out, "  missing                   {:>10}", consumed.missing)?;
        writeln!(out, "  leaders killed            {:>10}", self.kills)?;
        let leaderless = self.leaderless_seconds_worst;
        writeln!(out, "  longest time without an acknowledged append   {leaderless:.2} s")?;
        writeln!(
            out,
            "  all of it                                     {:.0} s",
            self.seconds_total
        )?;
        writeln!(out, "\nThe store is still there. Go on by hand:\n")?;
        for line in &self.by_hand {
            writeln!(out, "  {line}")?;
        }
        Ok(())
    }

    /// For programs.
    pub fn print_json(&self) -> Result<()> {
        writeln!(std::io::stdout().lock(), "{}", serde_json::to_string(self)?)?;
        Ok(())
    }
}

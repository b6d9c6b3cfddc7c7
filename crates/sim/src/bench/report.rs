//! What a run came to: as JSON for programs, as a table for people.

use lockgate_types::Json;
use serde_json::{Value, json};
use std::fmt::Write as _;

/// One way, at one load.
#[derive(Clone, Debug)]
pub struct Cell {
    /// Connections at once.
    pub connections: usize,
    /// The protocol version.
    pub era: String,
    /// What calls were sent through.
    pub way: String,
    /// Median latency.
    pub p50_us: f64,
    /// 99th percentile.
    pub p99_us: f64,
    /// Calls per second.
    pub rate: f64,
    /// Processor milliseconds of the program measured, per call.
    pub cpu_ms: f64,
}

/// `decide` alone.
#[derive(Clone, Debug)]
pub struct Decide {
    /// Policies of the bundle.
    pub policies: usize,
    /// Median microseconds of one decision, by the clock.
    pub median_us: f64,
    /// Mean thread CPU microseconds.
    pub mean_cpu_us: f64,
}

/// A whole run.
#[derive(Clone, Debug)]
pub struct Report {
    /// Policies of the gate.
    pub policies: usize,
    /// Seconds of each measurement.
    pub seconds: f64,
    /// Rounds, of which medians are taken.
    pub rounds: usize,
    /// The raw cost of making 4 KiB durable.
    pub fdatasync_us: f64,
    /// The most memory that the durable gate had resident.
    pub rss_mib: f64,
    /// Every way at every load.
    pub cells: Vec<Cell>,
    /// `decide` alone.
    pub decide: Vec<Decide>,
    /// Appends and verification, as the store's measurement printed them.
    pub store: Json,
    /// The detectors alone, as their measurement printed them.
    pub detect: Json,
    /// Where values came from, as its measurement printed it.
    pub flow: Json,
}

impl Report {
    /// For programs.
    pub fn to_json(&self) -> Value {
        let cells = self.cells.iter().map(|cell| {
            json!({
                "connections": cell.connections, "era": cell.era, "way": cell.way,
                "p50_us": cell.p50_us, "p99_us": cell.p99_us, "rate": cell.rate,
                "cpu_ms_per_call": cell.cpu_ms,
                "added_to_proxy_p50_us": self.added(cell),
            })
        });
        let decide = self.decide.iter();
        let decide = decide.map(|one| {
            json!({
                "policies": one.policies, "median_us": one.median_us,
                "mean_cpu_us": one.mean_cpu_us,
            })
        });
        let value = |json: &Json| serde_json::from_slice(&json.to_bytes()).unwrap_or(Value::Null);
        let (store, detect) = (value(&self.store), value(&self.detect));
        let flow = value(&self.flow);
        json!({
            "policies": self.policies, "seconds": self.seconds, "rounds": self.rounds,
            "fdatasync_us": self.fdatasync_us, "rss_mib": self.rss_mib,
            "cells": cells.collect::<Vec<_>>(), "decide": decide.collect::<Vec<_>>(),
            "store": store, "detect": detect, "flow": flow,
        })
    }

    /// What a way adds to the median of the transparent proxy at the same load.
    fn added(&self, cell: &Cell) -> f64 {
        let proxy = self.cells.iter().find(|other| {
            other.way == "transparent proxy"
                && other.era == cell.era
                && other.connections == cell.connections
        });
        proxy.map_or(0.0, |proxy| cell.p50_us - proxy.p50_us)
    }

    /// For people.
    pub fn to_text(&self) -> String {
        let mut text = format!(
            "{} policies; {} rounds of {} s; fdatasync of 4 KiB: {:.0} µs; \
             gate RSS at most {:.0} MiB\n\n",
            self.policies, self.rounds, self.seconds, self.fdatasync_us, self.rss_mib
        );
        let _ = writeln!(
            text,
            "{:<5} {:<11} {:<20} {:>8} {:>8} {:>8} {:>9} {:>8}",
            "conns", "era", "way", "p50 µs", "p99 µs", "+proxy", "calls/s", "ms CPU"
        );
        for cell in &self.cells {
            let _ = writeln!(
                text,
                "{:<5} {:<11} {:<20} {:>8.0} {:>8.0} {:>8.0} {:>9.0} {:>8.3}",
                cell.connections,
                cell.era,
                cell.way,
                cell.p50_us,
                cell.p99_us,
                self.added(cell),
                cell.rate,
                cell.cpu_ms
            );
        }
        text.push('\n');
        for one in &self.decide {
            let _ = writeln!(
                text,
                "decide, {:>6} policies: median {:.1} µs, mean CPU {:.1} µs",
                one.policies, one.median_us, one.mean_cpu_us
            );
        }
        let _ = writeln!(text, "store: {}", self.store);
        text
    }
}

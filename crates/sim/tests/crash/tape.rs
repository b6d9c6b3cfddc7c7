//! What a gate comes to while it runs: each place at which it could crash, with the disk and the
//! world as they are there.

use crate::disk::{Bytes, DATABASE, Disk, SIGNED, WAL, read};
use crate::world::World;
use lockgate_store::DiskMoment;
use std::path::PathBuf;
use std::sync::Arc;

/// Where a gate is when it crashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    /// The disk is about to be waited for.
    Syncs,
    /// The disk has it, nobody knows.
    Synced,
    /// What is about to be signed is about to be remembered.
    Remembers,
    /// It is remembered, and not signed.
    Remembered,
    /// The write-ahead log is about to be copied.
    Copies,
    /// It is copied.
    Copied,
    /// A write is at the door of its upstream.
    Arrived,
    /// The upstream has done with it what it does, and has not answered.
    Performed,
    /// The upstream is asked whether something is there.
    Asked,
    /// The client has its answer.
    Answered,
}

/// A place at which a gate could crash.
#[derive(Clone)]
pub(crate) struct Point {
    pub(crate) place: Place,
    pub(crate) disk: Disk,
    pub(crate) world: World,
}

/// The tape of one life of a gate.
pub(crate) struct Tape {
    pub(crate) world: World,
    pub(crate) points: Vec<Point>,
    directory: PathBuf,
    is_recording: bool,
    disk: Disk,
    /// What the log was when the disk was last asked to take it.
    asked: Bytes,
    /// While the log is being copied to the database nothing else is looked at.
    pub(crate) is_copying: bool,
}

impl Tape {
    pub(crate) fn new(world: World, directory: PathBuf, disk: Disk, is_recording: bool) -> Self {
        Self {
            world,
            points: Vec::new(),
            directory,
            is_recording,
            asked: Arc::clone(&disk.wal),
            disk,
            is_copying: false,
        }
    }

    /// The store has come to a moment.
    pub(crate) fn hear(&mut self, moment: DiskMoment) {
        match moment {
            DiskMoment::Copies => self.is_copying = true,
            DiskMoment::Copied => self.is_copying = false,
            _ => {}
        }
        if !self.is_recording {
            return;
        }
        let place = match moment {
            DiskMoment::Syncs => Place::Syncs,
            DiskMoment::Synced => Place::Synced,
            DiskMoment::Remembers => Place::Remembers,
            DiskMoment::Remembered => Place::Remembered,
            DiskMoment::Copies => Place::Copies,
            DiskMoment::Copied => Place::Copied,
        };
        let before = self.disk.clone();
        if place == Place::Synced {
            self.disk.wal_synced = Arc::clone(&self.asked);
        }
        self.look();
        match place {
            Place::Syncs => self.asked = Arc::clone(&self.disk.wal),
            // SQLite waits for the disk to have the log, before it copies it.
            Place::Copies => self.disk.wal_synced = Arc::clone(&self.disk.wal),
            Place::Copied => {
                self.disk.wal_synced = before.wal;
                self.disk.database_before = Some(before.database);
            }
            Place::Remembered => self.disk.signed_before = Some(before.signed),
            _ => {}
        }
        self.keep(place);
        (self.disk.database_before, self.disk.signed_before) = (None, None);
        if place == Place::Copied {
            self.disk.wal_synced = Arc::clone(&self.disk.wal);
        }
    }

    /// The world has come to a place.
    pub(crate) fn come_to(&mut self, place: Place) {
        if self.is_recording {
            self.look();
            self.keep(place);
        }
    }

    fn look(&mut self) {
        let path = |name| self.directory.join(name);
        self.disk.database = read(&path(DATABASE), &self.disk.database);
        self.disk.wal = read(&path(WAL), &self.disk.wal);
        self.disk.signed = read(&path(SIGNED), &self.disk.signed);
    }

    fn keep(&mut self, place: Place) {
        let (disk, world) = (self.disk.clone(), self.world.clone());
        self.points.push(Point { place, disk, world });
    }
}

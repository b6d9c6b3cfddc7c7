//! The barriers within the databases, each without the check before it; and the bounds.

mod grants;
mod postgres;
mod rows;
mod sqlite;

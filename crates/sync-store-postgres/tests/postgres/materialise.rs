//! Rows in business tables, and the failures of those that cannot be written.

mod checks;
mod device;
mod handlers;
mod pushes;
mod retries;
mod rows;
mod slow;
mod support;
mod uploads;
mod values;

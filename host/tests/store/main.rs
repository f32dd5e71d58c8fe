//! What every store must do: one suite, run for each of them.
//!
//! A store is fed records as shards make them and asked what the rest of the host asks. Nothing
//! here knows how a store keeps what it keeps.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::unwrap_in_result,
    reason = "helpers of tests are tests"
)]

mod crossing;
mod damage;
mod damaged;
mod deletion;
mod durable;
mod encrypted;
mod instances;
mod leases;
mod letters;
mod log;
mod postgres;
mod retention;
mod sample;
mod versions;
mod waiting;
mod worst;

use tempfile::TempDir;
use xcomponent_host::store::{self, Store, memory::Memory, sqlite::Sqlite};

/// An empty store, and what it is kept in.
struct Fixture {
    store: Box<dyn Store>,
    _keeper: Keeper,
}

/// What a store is kept in; gone after it.
enum Keeper {
    Memory,
    Folder(#[expect(dead_code, reason = "removed when it is dropped")] TempDir),
    Server(
        #[expect(dead_code, reason = "stopped when it is dropped")] xcomponent_servers::Postgres,
    ),
    Pooler(#[expect(dead_code, reason = "stopped when it is dropped")] leases::Pooled),
}

/// Runs the suite for a store that `$new` makes empty.
macro_rules! conforms {
    ($store:ident, $new:expr, [$($module:ident: $($case:ident),+;)+]) => {
        mod $store {
            $($(
                #[test]
                fn $case() {
                    crate::$module::$case(&*$new().store);
                }
            )+)+
        }
    };
}

/// Every case, for one store.
macro_rules! suite {
    ($store:ident, $new:expr) => {
        conforms!($store, $new, [
            crossing:
                a_log_keeps_its_name,
                what_is_for_another_host_waits_until_it_has_arrived,
                tenants_have_channels_of_their_own,
                what_waits_is_not_removed,
                a_stream_is_known_up_to_its_last_parcel,
                what_was_taken_in_is_owed;
            deletion:
                nobody_is_shown_a_deleted_instance,
                a_deleted_instance_is_removed_whatever_is_kept,
                a_deleted_instance_stays_while_repeated_ids_are_answered_from_it,
                a_deleted_instance_stays_until_its_delayed_sends_left,
                a_deleted_entry_point_is_removed,
                many_deleted_instances_are_removed_in_small_steps;
            instances:
                an_instance_is_as_its_last_record_left_it,
                what_goes_on_is_loaded_by_partition,
                a_search_that_finds_little_ends_now_and_then,
                a_list_is_read_page_by_page_the_last_created_first,
                filters_pass_what_they_name,
                an_instance_that_was_ended_is_found_as_such,
                kinds_are_counted,
                tenants_do_not_see_each_other;
            letters:
                a_parked_event_is_found_until_it_is_settled,
                what_was_discarded_is_gone,
                one_event_may_be_parked_at_several_instances,
                letters_are_listed_and_counted;
            log:
                positions_may_have_gaps,
                a_history_is_read_page_by_page_the_last_first,
                the_log_is_followed_from_any_position,
                a_trace_has_everything_an_event_led_to;
            retention:
                what_is_older_goes_and_what_goes_on_stays,
                the_last_record_of_all_stays,
                beyond_a_number_finished_instances_go_first,
                what_repeated_ids_are_answered_from_stays,
                positions_without_a_record_do_not_count,
                a_long_history_goes_in_small_steps;
            versions:
                a_version_is_saved_once,
                one_version_is_active_and_the_one_before_is_known,
                a_deleted_version_takes_its_artifact_along;
            waiting:
                what_waits_comes_back_with_its_instance_until_it_ends,
                a_batch_has_the_last_word_of_its_records,
                more_than_one_statement_takes_waits,
                records_say_what_began_and_ended_and_repeat_nothing,
                an_ended_instance_that_owes_a_send_stays_until_it_left;
            worst:
                the_worst_that_is_accepted_is_kept_as_it_is;
        ]);
    };
}

suite!(memory, crate::memory_store);
suite!(sqlite, crate::sqlite_store);
suite!(postgresql, crate::postgres_store);
suite!(pgbouncer, crate::pooled_store);

fn memory_store() -> Fixture {
    Fixture {
        store: Box::new(Memory::new(store::memory::Config::default())),
        _keeper: Keeper::Memory,
    }
}

fn sqlite_store() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("host.db");
    let store = Sqlite::open(&path, store::sqlite::Config::default()).unwrap();
    Fixture {
        store: Box::new(store),
        _keeper: Keeper::Folder(folder),
    }
}

fn postgres_store() -> Fixture {
    let server = postgres::server();
    let store = postgres::open(&server.url("postgres"));
    Fixture {
        store: Box::new(store),
        _keeper: Keeper::Server(server),
    }
}

fn pooled_store() -> Fixture {
    let pooled = leases::Pooled::start();
    Fixture {
        store: Box::new(pooled.open()),
        _keeper: Keeper::Pooler(pooled),
    }
}

//! What a plugin that fails costs: its batch a few calls more, and one record at most.

use std::sync::Arc;

use tidegate_core::{
    Failure, Kind, Reply,
    transform::{Breach, TransformError},
};
use tidegate_pipeline::{
    PlanSpec, ProcessError,
    plan::{Breaker, OnPoison, StageSpec},
    states::NoStates,
};

use crate::{
    plugins::{Scripted, description, doubling, integer, integers},
    support::{batches, fingerprint, letters, numbers, plan, reasons, run, spec, try_run, values},
};

fn with_stage(factory: Arc<Scripted>, change: impl FnOnce(&mut StageSpec)) -> PlanSpec {
    let mut spec = spec(&[factory]);
    change(&mut spec.stages[0]);
    spec
}

/// A breaker that never opens.
const PATIENT: Breaker = Breaker { per_thousand: 1000, window: 1_000_000 };

#[test]
fn the_culprit_alone_is_a_dead_letter_and_the_others_are_delivered_in_order() {
    let plugin = Arc::new(doubling(&[77], false));
    let output = run(&plan(with_stage(plugin.clone(), |_| {})), &batches(&numbers(500), 500));
    let twice: Vec<_> = values(&output, 0).iter().map(|v| v["twice"].as_i64()).collect();
    let want: Vec<_> = (0..500).filter(|n| *n != 77).map(|n| Some(n * 2)).collect();
    assert_eq!(twice, want);
    assert_eq!(
        reasons(&output),
        [("transform:doubling".into(), "plugin-trap".into(), "{\"n\":77}".into())]
    );
    let letter = &letters(&output)[0];
    assert_eq!(letter["etl"]["errorMessage"], "index out of bounds");
    assert_eq!(letter["etl"]["backtrace"], "double\ntransform");
    assert_eq!(letter["etl"]["errorClass"], "trap");
    assert_eq!(letter["etl"]["plugin"], "doubling 1.2.3");
    assert_eq!(letter["etl"]["attempts"], 2);
    // The call that failed, and at most 2·log2(n) more.
    assert!(plugin.calls() <= 1 + 2 * 9, "{} calls", plugin.calls());
}

#[test]
fn a_hint_that_holds_saves_the_search() {
    let plugin = Arc::new(doubling(&[77, 300], true));
    let output = run(&plan(with_stage(plugin.clone(), |_| {})), &batches(&numbers(500), 500));
    assert_eq!(output.counts.dead_lettered.records, 2);
    assert_eq!(plugin.calls(), 7, "whole, 0..77, 77, 78..500, 78..300, 300, 301..500");
}

#[test]
fn a_lying_hint_is_followed_once() {
    let description = description(&[("n", Kind::Int64)], &[]);
    let plugin = Arc::new(Scripted::new("liar", description, |batch, _| {
        match (0..batch.rows as usize).any(|row| integer(batch, 0, row) == Some(400)) {
            true => Err(TransformError { row: Some(0), ..TransformError::new(Breach::Trap, "no") }),
            false => Ok(Reply::default()),
        }
    }));
    let output = run(&plan(with_stage(plugin.clone(), |_| {})), &batches(&numbers(512), 512));
    assert_eq!(output.counts.dead_lettered.records, 1);
    assert!(plugin.calls() <= 3 + 2 * 9, "{} calls", plugin.calls());
}

#[test]
fn a_guest_that_names_an_innocent_row_each_time_is_not_followed_from_row_to_row() {
    let description = description(&[("n", Kind::Int64)], &[]);
    let plugin = Arc::new(Scripted::new("liar", description, |batch, _| match batch.rows {
        1 => Ok(Reply::default()),
        rows => {
            let row = Some(rows - 1);
            Err(TransformError { row, ..TransformError::new(Breach::Trap, "not with others") })
        }
    }));
    let output = run(&plan(with_stage(plugin.clone(), |_| {})), &batches(&numbers(512), 512));
    assert_eq!(output.counts.delivered.records, 512);
    assert!(plugin.calls() <= 4 + 2 * 512, "{} calls", plugin.calls());
}

#[test]
fn thousands_of_poison_records_in_one_batch_do_not_exhaust_the_stack() {
    let description = description(&[("n", Kind::Int64)], &[]);
    let plugin = Scripted::new("hater", description, |_, _| {
        Err(TransformError { row: Some(0), ..TransformError::new(Breach::Trap, "no") })
    });
    let spec = with_stage(Arc::new(plugin), |stage| stage.breaker = PATIENT);
    let output = run(&plan(spec), &batches(&numbers(5_000), 5_000));
    assert_eq!(output.counts.dead_lettered.records, 5_000);
}

#[test]
fn many_poison_records_are_each_found() {
    let poison: &[i64] = &[0, 1, 2, 63, 64, 65, 199];
    for hints in [false, true] {
        let plugin = Arc::new(doubling(poison, hints));
        let spec = with_stage(plugin, |stage| stage.breaker = PATIENT);
        let output = run(&plan(spec), &batches(&numbers(200), 100));
        let found: Vec<_> = reasons(&output).into_iter().map(|(_, _, payload)| payload).collect();
        let want: Vec<_> = poison.iter().map(|n| format!("{{\"n\":{n}}}")).collect();
        assert_eq!(found, want);
        assert_eq!(output.counts.delivered.records, 193);
    }
}

#[test]
fn a_batch_that_passes_in_parts_was_too_large_and_nobody_is_poison() {
    let description = description(&[("n", Kind::Int64)], &[("n2", Kind::Int64)]);
    let plugin = Arc::new(Scripted::new("small", description, |batch, _| {
        if batch.rows > 16 {
            return Err(TransformError::new(Breach::Memory, "a refused allocation"));
        }
        let numbers = (0..batch.rows as usize).map(|row| integer(batch, 0, row).unwrap_or(0));
        Ok(Reply { columns: vec![integers(numbers)], ..Reply::default() })
    }));
    let output = run(&plan(with_stage(plugin.clone(), |_| {})), &batches(&numbers(640), 64));
    assert_eq!(output.counts.delivered.records, 640);
    let of_values: Vec<_> = values(&output, 0).iter().map(|v| v["n2"].as_i64()).collect();
    assert_eq!(of_values, (0..640).map(Some).collect::<Vec<_>>());
    // The first batch finds out, in two steps; the other nine take four calls each, or few more.
    assert!(plugin.calls() < 60, "{} calls", plugin.calls());
}

#[test]
fn time_is_the_machines_fault_until_there_was_plenty() {
    // Row 5 takes 10 times the limit, row 9 for ever.
    let slow = |impatient: bool| {
        let description = description(&[("n", Kind::Int64)], &[]);
        Arc::new(Scripted::new("slow", description, move |batch, memory| {
            let takes = |row| match integer(batch, 0, row) {
                Some(5) => 10,
                Some(9) if impatient => u32::MAX,
                _ => 1,
            };
            match (0..batch.rows as usize).map(takes).max() {
                Some(longest) if longest > memory.patience => {
                    Err(TransformError::new(Breach::Time, "deadline"))
                }
                _ => Ok(Reply::default()),
            }
        }))
    };
    let input = batches(&numbers(32), 16);
    let first = run(&plan(spec(&[slow(true)])), &input);
    assert_eq!(
        reasons(&first),
        [("transform:slow".into(), "plugin-time".into(), "{\"n\":9}".into())]
    );
    assert_eq!(letters(&first)[0]["requestContext"]["condition"], "RetryAttemptsExhausted");
    let [exclusion] = &first.exclusions[..] else { panic!("{:?}", first.exclusions) };
    assert_eq!((exclusion.stage.as_str(), exclusion.code.as_str()), ("slow", "plugin-time"));

    // On a faster machine, the intent's exclusions give the same bytes.
    let pinned = first.exclusions.clone();
    let replay = try_run(&plan(spec(&[slow(false)])), &input, &NoStates, pinned).expect("it runs");
    assert_eq!(fingerprint(&replay), fingerprint(&first));
    let unpinned = run(&plan(spec(&[slow(false)])), &input);
    assert_eq!(unpinned.counts.dead_lettered.records, 0);
}

#[test]
fn an_open_breaker_halts_or_lets_records_pass_or_goes_on() {
    const POISON: &[i64] = &[10, 11, 12, 13, 14, 15, 16, 17, 18, 19];
    let breaker = Breaker { per_thousand: 50, window: 100 };
    let with = |policy| {
        with_stage(Arc::new(doubling(POISON, false)), |stage| {
            stage.breaker = breaker;
            stage.on_poison = policy;
        })
    };
    let input = batches(&numbers(100), 25);

    let output = run(&plan(with(OnPoison::Dlq)), &input);
    assert_eq!(output.counts.dead_lettered.records, 10);
    assert!(output.stages[0].breaker_open);

    let halted = try_run(&plan(with(OnPoison::Halt)), &input, &NoStates, vec![]).expect_err("halt");
    assert!(matches!(halted, ProcessError::Halted { poison: 6, .. }), "{halted}");
    assert_eq!(halted.failure(), Failure::Fatal);

    // Six are poison, and everything behind the sixth passes the stage by.
    let output = run(&plan(with(OnPoison::Passthrough)), &input);
    assert_eq!(output.counts.dead_lettered.records, 6);
    for (value, n) in values(&output, 0).iter().zip((0..10).chain(16..100)) {
        let twice = (n < 16).then_some(n * 2);
        assert_eq!((value["n"].as_i64(), value["twice"].as_i64()), (Some(n), twice));
    }
}

#[test]
fn a_host_without_room_tries_again_later() {
    let exhausted = Arc::new(doubling(&[], false).refusing_to_start(Breach::Exhausted));
    let error = try_run(&plan(spec(&[exhausted])), &batches(&numbers(3), 3), &NoStates, vec![])
        .expect_err("there is no room");
    assert!(matches!(error.failure(), Failure::Retry { .. }), "{error}");

    let refusing = Arc::new(doubling(&[], false).refusing_to_start(Breach::Configure));
    let error = try_run(&plan(spec(&[refusing])), &batches(&numbers(3), 3), &NoStates, vec![])
        .expect_err("it does not start");
    assert_eq!(error.failure(), Failure::Fatal);
}

#[test]
fn an_instance_is_fresh_at_each_range_and_above_the_watermark() {
    let description = description(&[("n", Kind::Int64)], &[("calls", Kind::Int64)]);
    let plugin = Arc::new(Scripted::new("growing", description, |batch, memory| {
        memory.bytes += 10;
        let calls = memory.calls as i64;
        let column = integers((0..batch.rows).map(|_| calls));
        Ok(Reply { columns: vec![column], ..Reply::default() })
    }));
    let spec = with_stage(plugin.clone(), |stage| stage.memory_watermark_bytes = 25);
    let plan = plan(spec);
    for range in 1..=2 {
        let output = run(&plan, &batches(&numbers(5), 1));
        let calls: Vec<_> = values(&output, 0).iter().map(|v| v["calls"].as_i64()).collect();
        assert_eq!(calls, [1, 2, 3, 1, 2].map(Some));
        assert_eq!(plugin.instances(), 2 * range);
    }
}

#[test]
fn children_of_good_rows_survive_a_poison_sibling_of_their_parents() {
    let description = description(&[("n", Kind::Int64)], &[("child", Kind::Int64)]);
    let plugin = Arc::new(Scripted::new("splitting", description, |batch, _| {
        let mut reply = Reply::default();
        let mut children = Vec::new();
        for row in 0..batch.rows as usize {
            let n = integer(batch, 0, row).unwrap_or(0);
            if n == 3 {
                return Err(TransformError::new(Breach::Trap, "three"));
            }
            for child in 0..n {
                reply.parents.push(row as u32);
                children.push(child);
            }
            if n == 0 {
                reply.findings.rows.push(row as u32);
                reply.findings.rules.push(0);
            }
        }
        reply.columns = vec![integers(children)];
        Ok(reply)
    }));
    let output = run(&plan(spec(&[plugin])), &batches(&numbers(5), 5));
    let rows: Vec<_> = values(&output, 0)
        .iter()
        .map(|v| (v["n"].as_i64().unwrap_or(-1), v["child"].as_i64().unwrap_or(-1)))
        .collect();
    assert_eq!(rows, [(1, 0), (2, 0), (2, 1), (4, 0), (4, 1), (4, 2), (4, 3)]);
    let counts = &output.counts;
    assert_eq!(
        (counts.dropped.records, counts.delivered.records, counts.dead_lettered.records),
        (1, 3, 1)
    );
    assert_eq!(output.destinations[0].shares, 7);
}

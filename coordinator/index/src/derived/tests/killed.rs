//! A process killed at any moment of writing a segment leaves nothing that is half true.
#![allow(clippy::print_stderr, reason = "a child talks to its parent")]

use std::{
    process::{Command, Stdio},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::truth::{self, Bench};

const LOOP: &str = "LODE_INDEX_TEST_DERIVE";

/// Not a test of its own: the process that is killed. It mines a few concepts again and again, so that segments are always
/// being written.
#[test]
fn child() {
    let Some(dir) = std::env::var_os(LOOP) else { return };
    let index = truth::open(std::path::Path::new(&dir));
    index.put_model(&truth::model()).unwrap();
    let newest = index.concepts(truth::MODEL).unwrap().iter().map(|(_, header)| header.seed).max();
    for version in newest.map_or(1, |newest| newest + 1).. {
        truth::mine(&index, &truth::key((version % 13) as u8), version);
    }
}

#[test]
fn kill_9_while_segments_are_written_leaves_right_answers() {
    let mut dir = tempfile::tempdir().unwrap();
    // The moments differ from run to run; what must hold does not.
    let mut state = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64 | 1;
    let (mut parts, mut segments) = (0, 0);
    // On a busy machine it takes more rounds until both kinds of files were met.
    for round in 0..200 {
        if round >= 20 && parts > 0 && segments > 0 {
            break;
        }
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "derived::tests::killed::child", "--nocapture", "--test-threads", "1"]);
        let mut child = child.env(LOOP, dir.path()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_micros(30_000 + (state >> 33) % 250_000));
        child.kill().unwrap();
        assert!(!child.wait().unwrap().success(), "the child ended by itself");
        let files = std::fs::read_dir(dir.path().join(crate::derived::FOLDER)).into_iter().flatten();
        for file in files {
            match file.unwrap().path().extension().and_then(|extension| extension.to_str()) {
                Some("part") => parts += 1,
                Some("segment") => segments += 1,
                _ => {}
            }
        }
        let bench = Bench::adopt(dir);
        bench.check();
        dir = bench.close();
    }
    assert!(parts > 0 && segments > 0, "{parts} parts and {segments} segments were met: the test proves nothing");
}

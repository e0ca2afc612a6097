;; WASI preview 1 for a guest that was promised an operating system and gets none.
;;
;; Every call is answered in here, inside the guest, so that nothing of WASI is left among the
;; component's imports. There are no files, no arguments and no environment; random numbers are the
;; same in every instance; the wall clock stands at the batch's time where the SDK says it, else at
;; 2000-01-01, and moves only while the guest sleeps, for a sleep by a clock that stands would
;; never end. None of it traps: a Go collector that asks for the time inside `cabi_realloc` gets
;; it, where a call to the host would end the instance.
;;
;; What is printed goes to the plugin's log, joined into lines. What the runtime prints before it
;; exits in despair (a stack that overflowed, a panic in a goroutine) becomes the text of the fault.
;;
;; The module has no memory of its own. It uses 8 KiB of the guest's, from 4096: Go's linker keeps
;; these for the arguments of js/wasm, and puts data behind them on wasip1 too.
(module
  (import "tidegate:plugin/host@0.1.0" "log" (func $log (param $level i32) (param $text i32) (param $bytes i32)))
  (import "tidegate:plugin/host@0.1.0" "fault" (func $fault (param $has_row i32) (param $row i32) (param $text i32) (param $bytes i32)))
  (import "env" "memory" (memory 0))

  (global $line_at i32 (i32.const 4096))
  (global $complaint_at i32 (i32.const 8192))
  (global $max_bytes i32 (i32.const 4096))

  (global $line_bytes (mut i32) (i32.const 0))
  (global $line_of (mut i32) (i32.const 0))
  (global $complaint_bytes (mut i32) (i32.const 0))

  (global $start i64 (i64.const 946684800000000000)) ;; nanoseconds; Go refuses a clock at zero
  (global $wall (mut i64) (i64.const 946684800000000000))
  (global $slept (mut i64) (i64.const 0))
  (global $random (mut i64) (i64.const 0x7469646567617465))

  ;; What the SDK calls besides: before each batch, with its time in nanoseconds or 0 where it does
  ;; not know it; and to trap without a word once it has told the host why.
  (func (export "tidegate_begin") (param $nanoseconds i64)
    (global.set $complaint_bytes (i32.const 0))
    (if (i64.ne (local.get $nanoseconds) (i64.const 0))
      (then (global.set $wall (local.get $nanoseconds)))))
  (func (export "tidegate_trap") unreachable)

  ;; Time.
  (func (export "clock_time_get") (param $clock i32) (param $precision i64) (param $to i32) (result i32)
    (i64.store (local.get $to)
      (i64.add (global.get $slept)
        (select (global.get $start) (global.get $wall) (local.get $clock))))
    (i32.const 0))
  (func (export "clock_res_get") (param i32 i32) (result i32)
    (i64.store (local.get 1) (i64.const 1))
    (i32.const 0))
  ;; Every subscription is ready at once: a clock's because its time is slept here and now.
  (func (export "poll_oneoff") (param $from i32) (param $to i32) (param $count i32) (param $ready i32) (result i32)
    (local $i i32)
    (block $done (loop $each
      (br_if $done (i32.eq (local.get $i) (local.get $count)))
      (if (i32.eqz (i32.load8_u offset=8 (local.get $from)))
        (then (call $sleep (i32.and (i32.load16_u offset=40 (local.get $from)) (i32.const 1))
          (i32.load offset=16 (local.get $from)) (i64.load offset=24 (local.get $from)))))
      (memory.fill (local.get $to) (i32.const 0) (i32.const 32))
      (i64.store (local.get $to) (i64.load (local.get $from)))
      (i32.store8 offset=10 (local.get $to) (i32.load8_u offset=8 (local.get $from)))
      (local.set $from (i32.add (local.get $from) (i32.const 48)))
      (local.set $to (i32.add (local.get $to) (i32.const 32)))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br $each)))
    (i32.store (local.get $ready) (local.get $count))
    (i32.const 0))
  (func $sleep (param $until i32) (param $clock i32) (param $nanoseconds i64)
    (local $now i64)
    (local.set $now (i64.add (global.get $slept)
      (select (global.get $start) (global.get $wall) (local.get $clock))))
    (if (local.get $until) (then
      (local.set $nanoseconds
        (select (i64.sub (local.get $nanoseconds) (local.get $now)) (i64.const 0)
          (i64.gt_u (local.get $nanoseconds) (local.get $now))))))
    (global.set $slept (i64.add (global.get $slept) (local.get $nanoseconds))))
  (func (export "sched_yield") (result i32) (i32.const 0))
  (func (export "adapter_monotonic_clock_set_paused") (param i32))

  ;; Random numbers: SplitMix64 by Steele, Lea and Flood, from a fixed seed.
  (func (export "random_get") (param $to i32) (param $bytes i32) (result i32)
    (local $z i64) (local $left i32)
    (block $done (loop $each
      (br_if $done (i32.eqz (local.get $bytes)))
      (if (i32.eqz (local.get $left)) (then
        (global.set $random (i64.add (global.get $random) (i64.const 0x9e3779b97f4a7c15)))
        (local.set $z (global.get $random))
        (local.set $z (i64.mul (i64.xor (local.get $z) (i64.shr_u (local.get $z) (i64.const 30))) (i64.const 0xbf58476d1ce4e5b9)))
        (local.set $z (i64.mul (i64.xor (local.get $z) (i64.shr_u (local.get $z) (i64.const 27))) (i64.const 0x94d049bb133111eb)))
        (local.set $z (i64.xor (local.get $z) (i64.shr_u (local.get $z) (i64.const 31))))
        (local.set $left (i32.const 8))))
      (i64.store8 (local.get $to) (local.get $z))
      (local.set $z (i64.shr_u (local.get $z) (i64.const 8)))
      (local.set $left (i32.sub (local.get $left) (i32.const 1)))
      (local.set $to (i32.add (local.get $to) (i32.const 1)))
      (local.set $bytes (i32.sub (local.get $bytes) (i32.const 1)))
      (br $each)))
    (i32.const 0))

  ;; Printing. A line is logged when it ends, when another stream speaks, or when it is too long.
  (func (export "fd_write") (param $stream i32) (param $from i32) (param $count i32) (param $written i32) (result i32)
    (local $sum i32)
    (if (i32.ne (local.get $stream) (global.get $line_of)) (then
      (call $end_line)
      (global.set $line_of (local.get $stream))))
    (block $done (loop $each
      (br_if $done (i32.eqz (local.get $count)))
      (call $print (i32.load (local.get $from)) (i32.load offset=4 (local.get $from)))
      (local.set $sum (i32.add (local.get $sum) (i32.load offset=4 (local.get $from))))
      (local.set $from (i32.add (local.get $from) (i32.const 8)))
      (local.set $count (i32.sub (local.get $count) (i32.const 1)))
      (br $each)))
    (i32.store (local.get $written) (local.get $sum))
    (i32.const 0))
  (func $print (param $from i32) (param $bytes i32)
    (local $byte i32)
    (block $done (loop $each
      (br_if $done (i32.eqz (local.get $bytes)))
      (local.set $byte (i32.load8_u (local.get $from)))
      ;; The host takes text only, and a line may end inside a character.
      (if (i32.ge_u (local.get $byte) (i32.const 0x80)) (then (local.set $byte (i32.const 63))))
      (if (i32.and (i32.eq (global.get $line_of) (i32.const 2))
                   (i32.lt_u (global.get $complaint_bytes) (global.get $max_bytes)))
        (then
          (i32.store8 (i32.add (global.get $complaint_at) (global.get $complaint_bytes)) (local.get $byte))
          (global.set $complaint_bytes (i32.add (global.get $complaint_bytes) (i32.const 1)))))
      (if (i32.eq (local.get $byte) (i32.const 10))
        (then (call $end_line))
        (else
          (i32.store8 (i32.add (global.get $line_at) (global.get $line_bytes)) (local.get $byte))
          (global.set $line_bytes (i32.add (global.get $line_bytes) (i32.const 1)))
          (if (i32.eq (global.get $line_bytes) (global.get $max_bytes)) (then (call $end_line)))))
      (local.set $from (i32.add (local.get $from) (i32.const 1)))
      (local.set $bytes (i32.sub (local.get $bytes) (i32.const 1)))
      (br $each)))
  )
  (func $end_line
    (if (global.get $line_bytes) (then
      ;; Standard error at `warn`, everything else at `info`.
      (call $log (i32.add (i32.const 1) (i32.eq (global.get $line_of) (i32.const 2)))
        (global.get $line_at) (global.get $line_bytes))
      (global.set $line_bytes (i32.const 0)))))
  (func (export "proc_exit") (param $code i32)
    (call $end_line)
    (if (global.get $complaint_bytes) (then
      (call $fault (i32.const 0) (i32.const 0) (global.get $complaint_at) (global.get $complaint_bytes))))
    unreachable)

  ;; No arguments, no environment.
  (func $none (param i32 i32) (result i32)
    (i32.store (local.get 0) (i32.const 0))
    (i32.store (local.get 1) (i32.const 0))
    (i32.const 0))
  (export "args_sizes_get" (func $none))
  (export "environ_sizes_get" (func $none))
  (func $nothing (param i32 i32) (result i32) (i32.const 0))
  (export "args_get" (func $nothing))
  (export "environ_get" (func $nothing))

  ;; No files: 8 is `badf`, 76 `notcapable`.
  (func $bad_1 (param i32) (result i32) (i32.const 8))
  (func $bad_2 (param i32 i32) (result i32) (i32.const 8))
  (func $bad_3 (param i32 i32 i32) (result i32) (i32.const 8))
  (func $bad_4 (param i32 i32 i32 i32) (result i32) (i32.const 8))
  (export "fd_close" (func $bad_1))
  (export "fd_datasync" (func $bad_1))
  (export "fd_sync" (func $bad_1))
  (export "proc_raise" (func $bad_1))
  (export "fd_fdstat_get" (func $bad_2))
  (export "fd_fdstat_set_flags" (func $bad_2))
  (export "fd_prestat_get" (func $bad_2))
  (export "fd_filestat_get" (func $bad_2))
  (export "fd_renumber" (func $bad_2))
  (export "fd_tell" (func $bad_2))
  (export "sock_shutdown" (func $bad_2))
  (export "fd_prestat_dir_name" (func $bad_3))
  (export "sock_accept" (func $bad_3))
  (export "fd_read" (func $bad_4))
  (func (export "fd_advise") (param i32 i64 i64 i32) (result i32) (i32.const 8))
  (func (export "fd_allocate") (param i32 i64 i64) (result i32) (i32.const 8))
  (func (export "fd_fdstat_set_rights") (param i32 i64 i64) (result i32) (i32.const 8))
  (func (export "fd_filestat_set_size") (param i32 i64) (result i32) (i32.const 8))
  (func (export "fd_filestat_set_times") (param i32 i64 i64 i32) (result i32) (i32.const 8))
  (func (export "fd_pread") (param i32 i32 i32 i64 i32) (result i32) (i32.const 8))
  (func (export "fd_pwrite") (param i32 i32 i32 i64 i32) (result i32) (i32.const 8))
  (func (export "fd_readdir") (param i32 i32 i32 i64 i32) (result i32) (i32.const 8))
  (func (export "fd_seek") (param i32 i64 i32 i32) (result i32) (i32.const 8))
  (func (export "sock_recv") (param i32 i32 i32 i32 i32 i32) (result i32) (i32.const 8))
  (func (export "sock_send") (param i32 i32 i32 i32 i32) (result i32) (i32.const 8))
  (func $not_3 (param i32 i32 i32) (result i32) (i32.const 76))
  (export "path_create_directory" (func $not_3))
  (export "path_remove_directory" (func $not_3))
  (export "path_unlink_file" (func $not_3))
  (func (export "path_filestat_get") (param i32 i32 i32 i32 i32) (result i32) (i32.const 76))
  (func (export "path_filestat_set_times") (param i32 i32 i32 i32 i64 i64 i32) (result i32) (i32.const 76))
  (func (export "path_link") (param i32 i32 i32 i32 i32 i32 i32) (result i32) (i32.const 76))
  (func (export "path_open") (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32) (i32.const 76))
  (func (export "path_readlink") (param i32 i32 i32 i32 i32 i32) (result i32) (i32.const 76))
  (func (export "path_rename") (param i32 i32 i32 i32 i32 i32) (result i32) (i32.const 76))
  (func (export "path_symlink") (param i32 i32 i32 i32 i32) (result i32) (i32.const 76))
)

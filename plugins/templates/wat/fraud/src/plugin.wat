;; A hundred points for each order of the customer within the last hour; denied from 500 on, by reason 1.
;;
;; Numbers of bytes are those of the canonical ABI: a header has 104, a line 24, a score 12.
(module
  (memory (export "memory") 3)
  ;; Where the next allocation goes; all below is static.
  (global $next (mut i32) (i32.const 65536))

  ;; The host makes room for the facts here, and the plugin for its answer.
  (func $realloc (export "cabi_realloc")
    (param $old i32) (param $old_bytes i32) (param $align i32) (param $bytes i32) (result i32)
    (local $at i32) (local $pages i32)
    (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
    (global.set $next (i32.add (local.get $at) (local.get $bytes)))
    (local.set $pages (i32.shr_u (i32.add (global.get $next) (i32.const 65535)) (i32.const 16)))
    (if (i32.gt_u (local.get $pages) (memory.size)) (then
      (if (i32.eq (i32.const -1) (memory.grow (i32.sub (local.get $pages) (memory.size))))
        (then unreachable))))
    (local.get $at))

  ;; Takes any configuration: the answer `ok` is a zero at address 32.
  (func (export "onhand:fraud/policy@1.0.0#init") (param $config i32) (param $bytes i32) (result i32)
    (i32.store (i32.const 32) (i32.const 0))
    (global.set $next (i32.const 65536))
    (i32.const 32))

  ;; When the host has read an answer, all that was allocated is forgotten.
  (func (export "cabi_post_onhand:fraud/policy@1.0.0#score-batch") (param i32)
    (global.set $next (i32.const 65536)))

  (func (export "onhand:fraud/policy@1.0.0#score-batch")
    (param $headers i32) (param $header_count i32) (param $lines i32) (param $line_count i32) (result i32)
    (local $i i32) (local $n i32) (local $in i32) (local $at i32) (local $out i32)
    (local $orders i32) (local $points i32)
    (local.set $out (call $realloc (i32.const 0) (i32.const 0) (i32.const 4)
      (i32.mul (local.get $header_count) (i32.const 12))))
    (local.set $n (local.get $header_count))
    (block $done (loop $next_order
      (br_if $done (i32.ge_u (local.get $i) (local.get $header_count)))
      (local.set $at (i32.add (local.get $out) (i32.mul (local.get $i) (i32.const 12))))
      (local.set $in (i32.add (local.get $headers) (i32.mul (local.get $i) (i32.const 104))))
      (local.set $orders (i32.load offset=60 (local.get $in)))
      (local.set $points (i32.const 1000))
      (if (i32.lt_u (local.get $orders) (i32.const 10)) (then
        (local.set $points (i32.mul (local.get $orders) (i32.const 100)))))
      (i32.store offset=0 (local.get $at) (local.get $points))
      (i32.store offset=4 (local.get $at)
        (select (i32.const 3) (i32.const 0) (i32.ge_u (local.get $points) (i32.const 500))))
      (i32.store offset=8 (local.get $at) (i32.const 1))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br $next_order)))
    ;; An answer is an address and a number of entries, at address 16.
    (i32.store (i32.const 16) (local.get $out))
    (i32.store (i32.const 20) (local.get $n))
    (i32.const 16)))

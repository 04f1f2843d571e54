;; Ten or more units of a line: one in ten off, by rule 1.
;;
;; Numbers of bytes are those of the canonical ABI: a header has 48, a line 32, an adjustment 24.
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
  (func (export "onhand:pricing/policy@1.0.0#init") (param $config i32) (param $bytes i32) (result i32)
    (i32.store (i32.const 32) (i32.const 0))
    (global.set $next (i32.const 65536))
    (i32.const 32))

  ;; When the host has read an answer, all that was allocated is forgotten.
  (func (export "cabi_post_onhand:pricing/policy@1.0.0#price-batch") (param i32)
    (global.set $next (i32.const 65536)))

  (func (export "onhand:pricing/policy@1.0.0#price-batch")
    (param $headers i32) (param $header_count i32) (param $lines i32) (param $line_count i32)
    (param $coupons i32) (param $coupon_count i32) (result i32)
    (local $i i32) (local $n i32) (local $in i32) (local $at i32) (local $out i32)
    (local.set $out (call $realloc (i32.const 0) (i32.const 0) (i32.const 8)
      (i32.mul (local.get $line_count) (i32.const 24))))
    (local.set $at (local.get $out))
    (block $done (loop $next_line
      (br_if $done (i32.ge_u (local.get $i) (local.get $line_count)))
      (local.set $in (i32.add (local.get $lines) (i32.mul (local.get $i) (i32.const 32))))
      (if (i32.ge_u (i32.load offset=16 (local.get $in)) (i32.const 10)) (then
        (i32.store offset=0 (local.get $at) (i32.const 0))
        (i32.store offset=4 (local.get $at) (local.get $i))
        (i64.store offset=8 (local.get $at) (i64.div_s
          (i64.mul (i64.load offset=24 (local.get $in)) (i64.load32_u offset=16 (local.get $in)))
          (i64.const 10)))
        (i32.store offset=16 (local.get $at) (i32.const 1))
        (local.set $at (i32.add (local.get $at) (i32.const 24)))
        (local.set $n (i32.add (local.get $n) (i32.const 1)))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br $next_line)))
    ;; An answer is an address and a number of entries, at address 16.
    (i32.store (i32.const 16) (local.get $out))
    (i32.store (i32.const 20) (local.get $n))
    (i32.const 16)))

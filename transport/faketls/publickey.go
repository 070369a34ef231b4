package faketls

import (
	"encoding/binary"
	"sync"

	"github.com/cloudflare/circl/math/fp25519"
)

// Public keys of X25519 (RFC 7748, Section 6.1) are made on the twisted Edwards
// curve that is the same group (RFC 8032, Section 5.1), where multiples of the base
// point can be looked up: less than half of what the library's ladder takes. Lookups
// are not in constant time, as no private key of ours is ever used again.

const (
	keySize      = 32
	tableWindows = 64 // digits of a private key, of 4 bits each
	tableDigits  = 8  // they are -8 to 8
)

// niels is a point as an addition wants it: y+x, y-x and 2dxy.
type niels struct{ sum, difference, product fp25519.Elt }

// edwards is a point as an addition makes it: x=X/Z, y=Y/Z, xy=T/Z.
type edwards struct{ x, y, z, t fp25519.Elt }

// identity is the neutral element.
func identity() (p edwards) {
	fp25519.SetOne(&p.y)
	fp25519.SetOne(&p.z)
	return p
}

// add adds q to p. The formulas hold for equal points and the neutral element, too
// (Hisil, Wong, Carter and Dawson: Twisted Edwards Curves Revisited, Section 3.1).
func (p *edwards) add(q *niels) {
	var a, b, c, d fp25519.Elt
	fp25519.Sub(&a, &p.y, &p.x)
	fp25519.Mul(&a, &a, &q.difference)
	fp25519.Add(&b, &p.y, &p.x)
	fp25519.Mul(&b, &b, &q.sum)
	fp25519.Mul(&c, &p.t, &q.product)
	fp25519.Add(&d, &p.z, &p.z)
	fp25519.AddSub(&b, &a) // b: b+a, a: b-a
	fp25519.AddSub(&d, &c)
	fp25519.Mul(&p.x, &a, &c)
	fp25519.Mul(&p.y, &d, &b)
	fp25519.Mul(&p.z, &c, &d)
	fp25519.Mul(&p.t, &a, &b)
}

// niels returns p for additions. d2 is 2d.
func (p *edwards) niels(d2 *fp25519.Elt) (q niels) {
	var x, y fp25519.Elt
	fp25519.Inv(&y, &p.z)
	fp25519.Mul(&x, &p.x, &y)
	fp25519.Mul(&y, &p.y, &y)
	fp25519.Add(&q.sum, &y, &x)
	fp25519.Sub(&q.difference, &y, &x)
	fp25519.Mul(&q.product, &x, &y)
	fp25519.Mul(&q.product, &q.product, d2)
	return q
}

// negated returns -q.
func (q *niels) negated() niels {
	n := niels{sum: q.difference, difference: q.sum, product: q.product}
	fp25519.Neg(&n.product, &n.product)
	return n
}

// multiples are 1 to 8 times 16^i times the base point: 48 KiB.
var multiples = sync.OnceValue(func() *[tableWindows][tableDigits]niels {
	table := new([tableWindows][tableDigits]niels)
	base, d2 := curve()
	step := base.niels(&d2)
	for i := range table {
		p := identity()
		for j := range table[i] {
			p.add(&step)
			table[i][j] = p.niels(&d2)
		}
		p.add(&table[i][tableDigits-1])
		step = p.niels(&d2)
	}
	return table
})

// curve returns the base point and 2d (RFC 8032, Section 5.1).
func curve() (base edwards, d2 fp25519.Elt) {
	var d, one, square, above, below fp25519.Elt
	fp25519.SetOne(&one)
	quotient(&d, 121665, 121666)
	fp25519.Neg(&d, &d)
	quotient(&base.y, 4, 5)
	base.z = one
	// x is the even root of (y*y-1)/(d*y*y+1).
	fp25519.Sqr(&square, &base.y)
	fp25519.Sub(&above, &square, &one)
	fp25519.Mul(&below, &d, &square)
	fp25519.Add(&below, &below, &one)
	fp25519.InvSqrt(&base.x, &above, &below)
	if fp25519.Modp(&base.x); base.x[0]&1 == 1 {
		fp25519.Neg(&base.x, &base.x)
	}
	fp25519.Mul(&base.t, &base.x, &base.y)
	fp25519.Add(&d2, &d, &d)
	return base, d2
}

func quotient(z *fp25519.Elt, x, y uint32) {
	var a, b fp25519.Elt
	binary.LittleEndian.PutUint32(a[:], x)
	binary.LittleEndian.PutUint32(b[:], y)
	fp25519.Inv(&b, &b)
	fp25519.Mul(z, &a, &b)
}

// publicKey is the one of a private key.
func publicKey(public, private *[keySize]byte) {
	table := multiples()
	k := *private
	k[0] &= 248
	k[31] = k[31]&127 | 64
	p := identity()
	carry := 0
	for i := range table {
		digit := int(k[i/2]>>(i%2*4)&15) + carry
		carry = 0
		if digit > tableDigits {
			digit, carry = digit-16, 1
		}
		switch {
		case digit > 0:
			p.add(&table[i][digit-1])
		case digit < 0:
			q := table[i][-digit-1].negated()
			p.add(&q)
		}
	}
	// RFC 7748, Section 4.1: u = (1+y)/(1-y).
	var u, v fp25519.Elt
	fp25519.Add(&u, &p.z, &p.y)
	fp25519.Sub(&v, &p.z, &p.y)
	fp25519.Inv(&v, &v)
	fp25519.Mul(&u, &u, &v)
	fp25519.Modp(&u)
	*public = u
}

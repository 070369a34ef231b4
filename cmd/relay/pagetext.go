//lint:file-ignore ST1018 Persian is written with zero-width non-joiners, and escapes could not be read

package main

import "fmt"

// pageText is a user's page in one language. The texts with %s are about an app.
type pageText struct {
	Lang, Dir, Name string
	Title           string
	Secret          string // share it with nobody
	Order           string
	Durable         string
	Burnable, Next  string
	Scan            string

	open, how, fallback string
}

// Open is the text of the button.
func (t pageText) Open(app string) string { return fmt.Sprintf(t.open, app) }

// How is what to do with it.
func (t pageText) How(app string) string { return fmt.Sprintf(t.how, app) }

// Fallback is what to do where the button does nothing.
func (t pageText) Fallback(app string) string { return fmt.Sprintf(t.fallback, app) }

// pageTexts are the languages of a page; the first is shown at once.
var pageTexts = []pageText{
	{
		Lang: "en", Dir: "ltr", Name: "English",
		Title:    "Your links",
		Secret:   "Share this page and its links with nobody. Whoever has them connects in your name, and links that get around are soon blocked.",
		Order:    "Try them in this order. The first one that works is enough.",
		Durable:  "Made to last.",
		Burnable: "May be blocked one day.", Next: "Then try the next one.",
		Scan:     "Or scan this with the camera of the phone that should use it.",
		open:     "Open in %s",
		how:      "On a phone or computer with %s, press the button and confirm.",
		fallback: "If nothing opens, paste this link into Saved Messages in %s and tap it there:",
	},
	{
		Lang: "ru", Dir: "ltr", Name: "Русский",
		Title:    "Ваши ссылки",
		Secret:   "Никому не передавайте эту страницу и ссылки с неё. Тот, у кого они есть, подключается от вашего имени, а разошедшиеся ссылки быстро блокируют.",
		Order:    "Пробуйте по порядку. Достаточно первой, которая заработает.",
		Durable:  "Рассчитана надолго.",
		Burnable: "Её могут когда-нибудь заблокировать.", Next: "Тогда пробуйте следующую.",
		Scan:     "Или наведите на код камеру того телефона, на котором нужна ссылка.",
		open:     "Открыть в %s",
		how:      "На телефоне или компьютере с %s нажмите кнопку и подтвердите.",
		fallback: "Если ничего не открылось, вставьте эту ссылку в «Избранное» в %s и нажмите на неё там:",
	},
	{
		Lang: "fa", Dir: "rtl", Name: "فارسی",
		Title:    "پیوندهای شما",
		Secret:   "این صفحه و پیوندهایش را به هیچ‌کس ندهید. هر کس آن‌ها را داشته باشد به نام شما وصل می‌شود، و پیوندی که پخش شود زود مسدود می‌شود.",
		Order:    "به همین ترتیب امتحان کنید. اولین پیوندی که کار کند کافی است.",
		Durable:  "برای ماندگاری ساخته شده است.",
		Burnable: "ممکن است روزی مسدود شود.", Next: "آن‌وقت پیوند بعدی را امتحان کنید.",
		Scan:     "یا این کد را با دوربین تلفنی که قرار است از آن استفاده کند بخوانید.",
		open:     "باز کردن در %s",
		how:      "روی تلفن یا رایانه‌ای که %s دارد، دکمه را بزنید و تأیید کنید.",
		fallback: "اگر چیزی باز نشد، این پیوند را در «پیام‌های ذخیره‌شده» (Saved Messages) در %s بفرستید و همان‌جا روی آن بزنید:",
	},
	{
		Lang: "zh", Dir: "ltr", Name: "中文",
		Title:    "您的链接",
		Secret:   "不要把此页面和其中的链接给任何人。拿到链接的人会以您的名义连接，流传开的链接很快就会被封锁。",
		Order:    "请按顺序尝试，第一个能用的就够了。",
		Durable:  "可长期使用。",
		Burnable: "有一天可能会被封锁。", Next: "届时请尝试下一个。",
		Scan:     "或者用要使用它的手机的相机扫描此二维码。",
		open:     "在 %s 中打开",
		how:      "在装有 %s 的手机或电脑上，点按按钮并确认。",
		fallback: "如果没有反应，请把此链接粘贴到 %s 的“收藏夹”（Saved Messages）里，再在那里点按：",
	},
}

/** The style sheet of reports: one column of text in a book face, figures and tables in the system's sans serif. */
export const STYLE = `
:root{--lg-ink:#1d1c1a;--lg-soft:#6a6761;--lg-ground:#fffefb;--rule:#dedad2;--tint:#f5f2ea}
@media screen and (prefers-color-scheme:dark){:root{--lg-ink:#e6e3dc;--lg-soft:#a19d95;--lg-ground:#17181a;--rule:#35363a;--tint:#202226}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--lg-ground);color:var(--lg-ink);\
font:18px/1.58 Charter,"Bitstream Charter","Sitka Text",Cambria,"Liberation Serif",Georgia,serif;\
font-variant-numeric:oldstyle-nums;hanging-punctuation:first}
main{max-width:808px;margin:0 auto;padding:56px 24px 96px}
h1{font-size:36px;line-height:1.18;font-weight:600;letter-spacing:-.012em;margin:0 0 10px;text-wrap:balance}
h2{font-size:24px;line-height:1.25;font-weight:600;letter-spacing:-.006em;margin:60px 0 12px}
p,ul{max-width:42em;margin:0 0 14px;text-wrap:pretty}
.byline,figcaption,table,summary,.key,footer{font-family:system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,\
sans-serif;font-variant-numeric:tabular-nums lining-nums}
.byline{color:var(--lg-soft);font-size:14px;margin-bottom:28px}
.running{background:var(--tint);padding:10px 14px;border-radius:4px;font-size:16px}
.lead{font-size:21px;line-height:1.5;margin-bottom:22px}
figure{margin:26px 0 34px}
figure svg{display:block;max-width:100%;height:auto}
.narrow{display:none}
figcaption{font-size:14px;line-height:1.5;color:var(--lg-soft);margin-top:12px;max-width:52em}
figcaption b{color:var(--lg-ink);font-weight:600}
.lg-plot{color:var(--lg-ink);--plot-background:var(--lg-ground)}
.lg-plot text{white-space:pre}
.table{overflow-x:auto;margin:16px 0 24px;\
background:linear-gradient(90deg,var(--lg-ground) 30%,transparent) local,\
linear-gradient(270deg,var(--lg-ground) 30%,transparent) 100% 0 local,\
linear-gradient(90deg,var(--rule),transparent),linear-gradient(270deg,var(--rule),transparent) 100% 0;\
background-size:32px 100%,32px 100%,14px 100%,14px 100%;background-repeat:no-repeat}
table{border-collapse:collapse;font-size:14px;line-height:1.4;min-width:min(100%,320px)}
caption{text-align:left;color:var(--lg-soft);padding-bottom:6px}
th,td{text-align:left;padding:5px 18px 5px 0;border-bottom:1px solid var(--rule);vertical-align:baseline;white-space:nowrap}
th{font-weight:600;border-bottom:1.5px solid var(--lg-soft)}
th:last-child,td:last-child{padding-right:0}
.n{text-align:right}
.key{list-style:none;padding:0;font-size:14px;line-height:1.5;display:grid;gap:4px 20px;max-width:none;margin:22px 0}
.key li{padding-left:34px;position:relative}
.key svg{position:absolute;left:0;top:7px}
.key b{font-weight:600}
details{margin:12px 0;border-top:1px solid var(--rule);padding-top:10px}
summary{cursor:pointer;font-size:14px;font-weight:600;color:var(--lg-soft)}
code{font:14px/1.5 ui-monospace,"SF Mono",Menlo,Consolas,"Liberation Mono",monospace;background:var(--tint);padding:2px 6px;\
border-radius:3px;overflow-wrap:anywhere}
footer{margin-top:64px;border-top:1px solid var(--rule);padding-top:14px;font-size:13px;color:var(--lg-soft)}
@media screen and (max-width:640px){
body{font-size:17px}main{padding:32px 16px 64px}h1{font-size:28px}h2{font-size:21px;margin-top:44px}.lead{font-size:18.5px}
.wide{display:none}.narrow{display:block}table{font-size:13px}th,td{padding-right:12px}\
th{white-space:normal;vertical-align:bottom}}
@media print{
@page{size:A4;margin:18mm 17mm 20mm}
body{font-size:10.5pt;line-height:1.42;background:#fff}main{max-width:none;padding:0}
h1{font-size:22pt}h2{font-size:14pt;margin-top:22pt;break-after:avoid}.lead{font-size:12pt}
figure,tr,.key{break-inside:avoid}figcaption,table,.key,.byline,summary{font-size:8.5pt}
.wide{display:block}.narrow{display:none}figure{margin:10pt 0 14pt}figure svg{height:auto;width:138mm;max-width:100%}
.table{overflow:visible;background:none}\
details{break-inside:auto}summary{break-after:avoid}details::details-content{content-visibility:visible;\
display:block}
th,td{padding:1.6pt 11pt 1.6pt 0;line-height:1.25}details{margin:6pt 0;\
padding-top:6pt}.table{margin:6pt 0 10pt}footer{margin-top:20pt;font-size:8.5pt}}
`.replace(/\n/g, "");
